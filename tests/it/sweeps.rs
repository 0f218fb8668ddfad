//! What holds for every operation that there is, now and later: the list comes from the OpenAPI document.

use std::time::Duration;

use harness::{Call, Value, World, both, json};
use reqwest::Method;

pub const NOBODY: &str = "01890000-0000-7000-8000-000000000000";

pub struct Operation {
    pub id: String,
    method: Method,
    pub path: String,
    public: bool,
    /// Whether it takes a body.
    body: bool,
}

/// What is in a path's placeholder of this name.
pub type Named = (&'static str, String);

impl Operation {
    /// With placeholders filled in: with what is named, and with `other` where nothing is.
    pub fn with(&self, named: &[Named], other: &str) -> String {
        let fixed = [
            ("path", "keys/a"),
            ("version", "1"),
            ("identifier", "base"),
            ("key", "intents_api.require_simulation"),
        ];
        let mut path = self.path.clone();
        for (name, value) in named.iter().map(|(name, value)| (*name, value.as_str())).chain(fixed) {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        while let Some((before, rest)) = path.split_once('{') {
            let (_, after) = rest.split_once('}').unwrap();
            path = format!("{before}{other}{after}");
        }
        path
    }

    pub fn at(&self, vault: &str, agent: &str, other: &str) -> String {
        self.with(&[("vault_id", vault.to_owned()), ("agent_id", agent.to_owned())], other)
    }

    pub fn call(&self, w: &World, path: &str, token: Option<&str>) -> Call {
        let call = w.call(self.method.clone(), path, token);
        if self.body { call.json(&self.fields()) } else { call }
    }

    /// Where something is looked up only once the fields are understood, such fields.
    fn fields(&self) -> Value {
        match self.id.as_str() {
            "decideApproval" => json!({"decision": "reject"}),
            "updateMemberRole" => json!({"role": "member"}),
            "updatePolicy" => json!({"permissions": ["read"]}),
            _ => json!({}),
        }
    }

    /// Whether it is about the installation itself.
    fn operators(&self) -> bool {
        self.path.starts_with("/v1/admin/")
    }

    /// Whether it tells what there is, without a name.
    pub fn lists(&self) -> bool {
        self.method == Method::GET && !self.path.contains('{')
    }

    /// Whether somebody of an organisation may ask for it at all.
    pub fn of_organisations(&self) -> bool {
        !self.public && !self.operators()
    }
}

fn document() -> Value {
    let output = harness::talon().arg("openapi").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn operations() -> Vec<Operation> {
    let document = document();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                public: operation["security"].as_array().is_none_or(Vec::is_empty),
                body: operation.get("requestBody").is_some(),
            });
        }
    }
    all
}

#[test]
fn the_document_has_every_operation_of_the_contract_so_far() {
    assert!(document()["openapi"].as_str().unwrap().starts_with("3.1"));
    let found: Vec<String> = operations().into_iter().map(|o| format!("{} {}", o.method, o.path)).collect();
    for expected in [
        "GET /v1/health",
        "GET /v1/health/hsm",
        "POST /v1/auth/signup",
        "POST /v1/auth/google",
        "POST /v1/auth/token",
        "DELETE /v1/auth/token",
        "POST /v1/auth/agent-token",
        "POST /v1/auth/refresh",
        "POST /v1/auth/verify-email",
        "POST /v1/auth/change-password",
        "POST /v1/auth/forgot-password",
        "POST /v1/auth/reset-password",
        "DELETE /v1/auth/me",
        "POST /v1/agents/enroll",
        "POST /v1/agents/enroll/credentials",
        "POST /v1/auth/api-key-token",
        "POST /v1/auth/api-keys",
        "GET /v1/auth/api-keys",
        "DELETE /v1/auth/api-keys/{key_id}",
        "GET /v1/auth/mfa/status",
        "POST /v1/auth/mfa/setup",
        "POST /v1/auth/mfa/verify-setup",
        "POST /v1/auth/mfa/verify",
        "DELETE /v1/auth/mfa",
        "GET /v1/auth/passkeys",
        "POST /v1/auth/passkeys/challenge",
        "POST /v1/auth/passkeys",
        "DELETE /v1/auth/passkeys/{passkey_id}",
        "POST /v1/auth/device/code",
        "POST /v1/auth/device/token",
        "GET /v1/auth/device/code/{user_code}",
        "POST /v1/auth/device/approve",
        "POST /v1/auth/device/deny",
        "GET /v1/auth/me",
        "PATCH /v1/auth/me",
        "POST /v1/vaults",
        "GET /v1/vaults",
        "GET /v1/vaults/{vault_id}",
        "DELETE /v1/vaults/{vault_id}",
        "POST /v1/vaults/{vault_id}/cmek",
        "DELETE /v1/vaults/{vault_id}/cmek",
        "POST /v1/vaults/{vault_id}/cmek-rotate",
        "GET /v1/vaults/{vault_id}/cmek-rotate/{job_id}",
        "GET /v1/vaults/{vault_id}/secrets",
        "PUT /v1/vaults/{vault_id}/secrets/{path}",
        "GET /v1/vaults/{vault_id}/secrets/{path}",
        "DELETE /v1/vaults/{vault_id}/secrets/{path}",
        "GET /v1/vaults/{vault_id}/secret-versions/{path}",
        "GET /v1/vaults/{vault_id}/secret-version/{path}/{version}",
        "POST /v1/vaults/{vault_id}/secret-version-disable/{path}/{version}",
        "POST /v1/vaults/{vault_id}/secret-restore/{path}",
        "POST /v1/vaults/{vault_id}/secret-rotate/{path}",
        "POST /v1/vaults/{vault_id}/policies",
        "GET /v1/vaults/{vault_id}/policies",
        "PUT /v1/vaults/{vault_id}/policies/{policy_id}",
        "DELETE /v1/vaults/{vault_id}/policies/{policy_id}",
        "POST /v1/policies/explain",
        "POST /v1/agents",
        "GET /v1/agents",
        "GET /v1/agents/me",
        "GET /v1/agents/{agent_id}",
        "PATCH /v1/agents/{agent_id}",
        "DELETE /v1/agents/{agent_id}",
        "POST /v1/agents/{agent_id}/rotate-key",
        "POST /v1/agents/{agent_id}/suspend",
        "POST /v1/agents/{agent_id}/resume",
        "POST /v1/agents/suspend-all",
        "POST /v1/agents/resume-all",
        "GET /v1/audit/events",
        "GET /v1/audit/verify",
        "GET /v1/audit/export",
        "POST /v1/audit/checkpoints",
        "GET /v1/audit/checkpoints",
        "POST /v1/webhooks",
        "GET /v1/webhooks",
        "GET /v1/webhooks/{webhook_id}",
        "PATCH /v1/webhooks/{webhook_id}",
        "DELETE /v1/webhooks/{webhook_id}",
        "POST /v1/webhooks/{webhook_id}/test",
        "GET /v1/webhooks/{webhook_id}/deliveries",
        "GET /v1/security/ip-rules",
        "POST /v1/security/ip-rules",
        "DELETE /v1/security/ip-rules/{rule_id}",
        "POST /v1/agents/{agent_id}/transactions",
        "GET /v1/agents/{agent_id}/transactions",
        "GET /v1/agents/{agent_id}/transactions/{tx_id}",
        "POST /v1/agents/{agent_id}/transactions/simulate",
        "POST /v1/agents/{agent_id}/transactions/simulate-bundle",
        "POST /v1/agents/{agent_id}/transactions/{tx_id}/speed-up",
        "POST /v1/agents/{agent_id}/transactions/{tx_id}/cancel",
        "GET /v1/chains",
        "GET /v1/chains/{identifier}",
        "POST /v1/approvals",
        "GET /v1/approvals",
        "GET /v1/approvals/wait",
        "GET /v1/approvals/{approval_id}",
        "POST /v1/approvals/{approval_id}/approve",
        "POST /v1/approvals/{approval_id}/deny",
        "POST /v1/approvals/{approval_id}/decide",
        "POST /v1/approvals/{approval_id}/cancel",
        "GET /v1/events",
        "GET /v1/org/members",
        "POST /v1/org/invite",
        "PATCH /v1/org/members/{user_id}",
        "DELETE /v1/org/members/{user_id}",
        "GET /v1/admin/chains",
        "POST /v1/admin/chains",
        "PUT /v1/admin/chains/{chain_id}",
        "DELETE /v1/admin/chains/{chain_id}",
        "GET /v1/admin/settings",
        "PUT /v1/admin/settings/{key}",
        "DELETE /v1/admin/settings/{key}",
        "GET /v1/admin/root",
        "GET /.well-known/jwks.json",
        "GET /.well-known/oauth-protected-resource",
        "GET /v1/vaults/{vault_id}/metadata/{path}",
        "POST /v1/vaults/{vault_id}/rotate/{path}",
        "GET /v1/vaults/{vault_id}/env/{path}",
        "POST /v1/secrets/{secret_id}/share",
        "GET /v1/share/{share_id}",
        "DELETE /v1/share/{share_id}",
        "GET /v1/shares/outbound",
        "GET /v1/shares/inbound",
        "POST /v1/shares/{share_id}/accept",
        "POST /v1/shares/{share_id}/decline",
    ] {
        assert!(found.iter().any(|f| f == expected), "{expected} is missing");
    }
}

both! {
    async fn without_a_token_nothing_but_what_is_public(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let bot = ada.agent("bot").make().await;
        for operation in operations() {
            let path = operation.at(&vault.id, &bot.id, NOBODY);
            let reply = operation.call(&w, &path, None).reply().await;
            if operation.public {
                assert_ne!(reply.status, 401, "{} is public", operation.id);
            } else {
                assert_eq!(reply.headers.get("www-authenticate").map(String::as_str), Some("Bearer"), "{}", operation.id);
                reply.expect(401, "needs a token");
                operation.call(&w, &path, Some("x.y.z")).expect(401, "not valid").await;
                for key in ["ocv_", "1ck_"] {
                    operation.call(&w, &path, Some(&format!("{key}{}", "A".repeat(43)))).expect(401, "").await;
                }
            }
        }
    }
}

both! {
    async fn the_installation_is_its_operators_alone(w: World) {
        let (root, eve) = (w.operator().await, w.owner("eve").await);
        let (own, others) = (root.agent("own").intents().make().await, eve.agent("bot").make().await);
        let all = operations();
        let admin: Vec<_> = all.iter().filter(|o| o.operators()).collect();
        assert!(admin.len() >= 7, "{}", admin.len());
        for operation in admin {
            let path = operation.at(NOBODY, NOBODY, NOBODY);
            assert!(!operation.public, "{}", operation.id);
            // Another organisation's owner, its agent, and an agent of the operators' own, by token and by key.
            for token in [&eve.token, &others.token, &own.token, &own.key] {
                operation.call(&w, &path, Some(token)).expect(403, "people who operate this installation").await;
            }
            let reply = operation.call(&w, &path, Some(&root.token)).reply().await;
            assert!([200, 204, 400, 404].contains(&reply.status), "{}: {} {}", operation.id, reply.status, reply.text);
        }
    }
}

both! {
    async fn every_address_has_its_methods_and_no_others(w: World) {
        let all = operations();
        for operation in &all {
            let path = operation.at(NOBODY, NOBODY, NOBODY);
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                if all.iter().any(|o| o.at(NOBODY, NOBODY, NOBODY) == path && o.method == method) {
                    continue;
                }
                let reply = w.call(method.clone(), &path, None).reply().await;
                assert_eq!(reply.status, 405, "{method} {path}: {}", reply.text);
                assert_eq!(reply.body["status"], 405, "{}", reply.text);
                assert!(reply.headers.contains_key("allow"), "{method} {path}");
            }
        }
    }
}

both! {
    async fn answers_are_not_cached_and_not_guessed_at(w: World) {
        let ada = w.owner("ada").await;
        for operation in operations() {
            // The one that ends the token that the others need.
            let token = match operation.id.as_str() {
                "revokeToken" => w.owner("bob").await.token,
                "suspendAllAgents" => w.owner("cleo").await.token,
                _ => ada.token.clone(),
            };
            let reply = operation.call(&w, &operation.at(NOBODY, NOBODY, NOBODY), Some(&token)).reply().await;
            let header = |name: &str| reply.headers.get(name).map(String::as_str);
            assert_eq!((header("cache-control"), header("x-content-type-options")), (Some("no-store"), Some("nosniff")), "{}", operation.id);
            assert!(reply.status < 500, "{}: {}", operation.id, reply.text);
        }
    }
}

both! {
    async fn an_expired_token_opens_nothing(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let end = domain::Clock::default().now().plus(Duration::from_secs(3));
        // An agent's token, and a person's, which end with the agent and with the API key.
        let bot = ada.agent("bot").set("expires_at", end.to_string()).make().await;
        let (_, key) = ada.api_key(&json!({"name": "k", "expires_at": end.to_string()})).await;
        let exchanged = w.post("/v1/auth/api-key-token", &json!({"api_key": key})).expect(200, "access_token").await;
        let person = exchanged["access_token"].as_str().unwrap();
        bot.get("/v1/agents/me").expect(200, "bot").await;
        ada.through(person).get("/v1/auth/me").expect(200, "ada").await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        for operation in operations().iter().filter(|o| !o.public) {
            let path = operation.at(&vault.id, &bot.id, NOBODY);
            for token in [&bot.token, person, &bot.key, &key] {
                operation.call(&w, &path, Some(token)).expect(401, "").await;
            }
        }
    }
}
