//! People and agents, who speak to a world.

use reqwest::Method;
use serde_json::{Value, json};

use crate::chain::KEYS;
use crate::replies::Call;
use crate::world::World;

/// A person with a token.
pub struct Person<'w> {
    pub world: &'w World,
    pub email: String,
    pub token: String,
}

/// A vault of a person's.
pub struct Vault<'p> {
    pub owner: &'p Person<'p>,
    pub id: String,
}

/// An agent with its key and a token.
pub struct Agent<'w> {
    pub world: &'w World,
    pub id: String,
    pub key: String,
    pub token: String,
}

macro_rules! speaks {
    ($actor:ident) => {
        impl $actor<'_> {
            pub fn call(&self, method: Method, path: &str) -> Call {
                self.world.call(method, path, Some(&self.token))
            }
            pub fn get(&self, path: &str) -> Call {
                self.call(Method::GET, path)
            }
            pub fn post(&self, path: &str, body: &Value) -> Call {
                self.call(Method::POST, path).json(body)
            }
            pub fn put(&self, path: &str, body: &Value) -> Call {
                self.call(Method::PUT, path).json(body)
            }
            pub fn patch(&self, path: &str, body: &Value) -> Call {
                self.call(Method::PATCH, path).json(body)
            }
            pub fn delete(&self, path: &str) -> Call {
                self.call(Method::DELETE, path)
            }
        }
    };
}
speaks!(Person);
speaks!(Agent);

impl<'w> Person<'w> {
    pub fn new(world: &'w World, email: String, token: String) -> Self {
        Self { world, email, token }
    }

    /// Makes a vault.
    pub async fn vault(&self, name: &str) -> Vault<'_> {
        let answer = self.post("/v1/vaults", &json!({"name": name})).expect(201, "id").await;
        Vault { owner: self, id: answer["id"].as_str().unwrap().to_owned() }
    }

    /// Registers an agent: `ada.agent("bot").set("intents_api_enabled", true).make().await`.
    pub fn agent(&self, name: &str) -> AgentDraft<'_> {
        AgentDraft { maker: self, body: json!({"name": name}), policies: Vec::new() }
    }

    /// Makes a personal API key: its id and the key.
    pub async fn api_key(&self, body: &Value) -> (String, String) {
        let made = self.post("/v1/auth/api-keys", body).expect(201, "1ck_").await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["key"]["id"]), text(&made["api_key"]))
    }

    /// The same person, with another token or key.
    pub fn through(&self, token: &str) -> Person<'w> {
        Person::new(self.world, self.email.clone(), token.to_owned())
    }

    /// The caller's own id.
    pub async fn id(&self) -> String {
        self.get("/v1/auth/me").expect(200, "id").await["id"].as_str().unwrap().to_owned()
    }
}

impl Vault<'_> {
    pub fn path(&self, secret: &str) -> String {
        format!("/v1/vaults/{}/secrets/{secret}", self.id)
    }

    pub async fn put(&self, path: &str, kind: &str, value: &str) -> Value {
        self.owner.put(&self.path(path), &json!({"type": kind, "value": value})).expect(201, "version").await
    }

    /// One of anvil's funded keys, as a private_key.
    pub async fn put_key(&self, path: &str, which: usize) {
        self.put(path, "private_key", KEYS[which]).await;
    }

    pub async fn allow(&self, agent: &str, pattern: &str, permissions: &[&str]) -> Value {
        let body = json!({"secret_path_pattern": pattern, "principal_type": "agent", "principal_id": agent,
            "permissions": permissions});
        self.owner.post(&format!("/v1/vaults/{}/policies", self.id), &body).expect(201, "id").await
    }
}

pub struct AgentDraft<'p> {
    maker: &'p Person<'p>,
    body: Value,
    policies: Vec<(String, String)>,
}

impl<'p> AgentDraft<'p> {
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.body[field] = value.into();
        self
    }

    pub fn intents(self) -> Self {
        self.set("intents_api_enabled", true)
    }

    pub fn reads(mut self, vault: &Vault<'_>, pattern: &str) -> Self {
        self.policies.push((vault.id.clone(), pattern.to_owned()));
        self
    }

    /// Registers it, gives it its policies, and exchanges its key.
    pub async fn make(self) -> Agent<'p> {
        let made = self.maker.post("/v1/agents", &self.body).expect(201, "api_key").await;
        let id = made["agent"]["id"].as_str().unwrap().to_owned();
        let key = made["api_key"].as_str().unwrap().to_owned();
        for (vault, pattern) in self.policies {
            let body = json!({"secret_path_pattern": pattern, "principal_type": "agent", "principal_id": id,
                "permissions": ["read"]});
            self.maker.post(&format!("/v1/vaults/{vault}/policies"), &body).expect(201, "id").await;
        }
        let mut agent = Agent { world: self.maker.world, id, key, token: String::new() };
        agent.token = agent.fresh_token().await;
        agent
    }
}

impl Agent<'_> {
    pub async fn fresh_token(&self) -> String {
        let body = json!({"agent_id": self.id, "api_key": self.key});
        let answer = self.world.post("/v1/auth/agent-token", &body).expect(200, "access_token").await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    pub fn transactions(&self) -> String {
        format!("/v1/agents/{}/transactions", self.id)
    }

    /// Submits a transfer on the chain `local`.
    pub fn send(&self, to: &str, value: &str) -> Call {
        self.submit(&json!({"to": to, "value": value, "chain": "local"}))
    }

    pub fn submit(&self, body: &Value) -> Call {
        self.post(&self.transactions(), body)
    }

    /// Waits until a transaction has this status.
    pub async fn until(&self, id: &str, status: &str) -> Value {
        let path = format!("{}/{id}", self.transactions());
        let mut last = Value::Null;
        for _ in 0..400 {
            if let Some(reply) = self.get(&path).try_reply().await {
                last = reply.body;
                if last["status"] == status {
                    return last;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the transaction is not {status}: {last}\n{}", self.world.said());
    }
}
