//! From where people and agents may come.

use std::time::{Duration, Instant};

use futures::future::join_all;
use harness::{Call, Database, Issuer, PASSWORD, Person, Value, World, both, json, now};
use reqwest::Method;

use crate::accounts::recover;
use crate::{devices, mfa};

const RULES: &str = "/v1/security/ip-rules";
const HOME: &str = "198.51.100.7";
const AWAY: &str = "203.0.113.9";

/// A world on each database, with a proxy on loopback that is believed: so that a test has many addresses.
async fn on_both(test: impl AsyncFn(World)) {
    for database in [Database::Sqlite, Database::Postgres] {
        test(World::on(database).with("TALON_TRUSTED_PROXIES", "127.0.0.1").start().await).await;
    }
}

trait From: Sized {
    fn from(self, address: &str) -> Self;
}

impl From for Call {
    fn from(self, address: &str) -> Self {
        self.header("x-forwarded-for", address)
    }
}

/// A way in, and a request by it.
type Way<'a> = (&'a str, Box<dyn Fn() -> Call + 'a>);

async fn add(ada: &Person<'_>, kind: &str, cidr: &str) -> Value {
    let body = json!({"rule_type": kind, "cidr": cidr, "label": "a label"});
    ada.post(RULES, &body).from(HOME).expect(201, "id").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_allowance_denies_all_else_by_every_way_in() {
    on_both(async |w| {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("api/a", "generic", "v").await;
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        let (_, key) = ada.api_key(&json!({"name": "k"})).await;
        let rule = add(&ada, "allow", "198.51.100.0/24").await;
        assert_eq!(
            (&rule["rule_type"], &rule["cidr"], &rule["label"], &rule["applies_to"]),
            (&json!("allow"), &json!("198.51.100.0/24"), &json!("a label"), &json!("all"))
        );
        for field in ["id", "org_id", "created_by", "created_at"] {
            assert!(rule[field].is_string(), "{field}: {rule}");
        }
        let denied = "An IP rule of your organisation denies this address";
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let ways: Vec<Way<'_>> = vec![
            ("a person's token", Box::new(|| ada.get("/v1/vaults"))),
            ("an agent's token", Box::new(|| bot.get(&vault.path("api/a")))),
            ("an agent's key", Box::new(|| w.call(Method::GET, "/v1/agents/me", Some(&bot.key)))),
            ("a personal key", Box::new(|| w.call(Method::GET, "/v1/auth/me", Some(&key)))),
            (
                "MCP",
                Box::new(|| {
                    bot.post("/mcp", &message).header("accept", "application/json, text/event-stream")
                }),
            ),
            (
                "a login",
                Box::new(|| {
                    w.post("/v1/auth/token", &json!({"email": "ada@example.org", "password": PASSWORD}))
                }),
            ),
            (
                "an agent's exchange",
                Box::new(|| w.post("/v1/auth/agent-token", &json!({"agent_id": bot.id, "api_key": bot.key}))),
            ),
            ("a key's exchange", Box::new(|| w.post("/v1/auth/api-key-token", &json!({"api_key": key})))),
        ];
        for (what, call) in &ways {
            let reply = call().from(AWAY).reply().await;
            assert_eq!(reply.status, 403, "{what}: {}", reply.text);
            assert!(!reply.text.contains("198.51"), "{what} tells the rule");
            reply.expect(403, denied);
            let reply = call().from(HOME).reply().await;
            assert_eq!(reply.status, 200, "{what}: {}", reply.text);
            assert_eq!(call().from(&format!("::ffff:{HOME}")).reply().await.status, 200, "{what}, mapped");
            // An address that can't be read is none that is allowed.
            assert_eq!(call().from("nobody").reply().await.status, 403, "{what}");
        }
        // A wrong credential learns nothing of rules.
        let wrong = json!({"email": "ada@example.org", "password": "Wrong-Horse-42!x"});
        w.post("/v1/auth/token", &wrong).from(AWAY).expect(401, "Wrong email or password.").await;
        ada.through("x.y.z").get("/v1/vaults").from(AWAY).expect(401, "not valid").await;
        // And nobody else is bound by it.
        let eve = w.owner("eve").await;
        eve.get("/v1/vaults").from(AWAY).expect(200, "").await;
        ada.delete(&format!("{RULES}/{}", rule["id"].as_str().unwrap())).from(HOME).expect(204, "").await;
        bot.get(&vault.path("api/a")).from(AWAY).expect(200, "v").await;
    })
    .await;
}

/// A way in that may be good once: the first of it, and the second.
type Step<'a> = (&'a str, Box<dyn Fn(usize) -> Call + 'a>);

/// Registers an agent without a key; its id.
async fn register(ada: &Person<'_>, body: &Value) -> String {
    let made = ada.post("/v1/agents", body).expect(201, "auth_method").await;
    made["agent"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_good_once_and_anothers_word_let_nobody_in_from_elsewhere() {
    for database in [Database::Sqlite, Database::Postgres] {
        let issuer = Issuer::start().await;
        let w = World::on(database)
            .all(&issuer.settings())
            .with("TALON_TRUSTED_PROXIES", "127.0.0.1")
            .with("TALON_CLIENT_CERT_HEADER", "X-Client-Cert")
            .start()
            .await;
        let ada = w.owner("ada").await;
        let (print, client) = ("ab".repeat(32), "build-7");
        let mtls = json!({"name": "edge", "auth_method": "mtls", "client_cert_fingerprint": print});
        let oidc = json!({"name": "ci", "auth_method": "oidc_client_credentials", "oidc_issuer": issuer.url,
            "oidc_client_id": client});
        let (edge, ci) = (register(&ada, &mtls).await, register(&ada, &oidc).await);
        let said = json!({"iss": issuer.url, "sub": "service", "aud": w.base, "azp": client, "iat": now(),
            "exp": now() + 300});
        let said = issuer.rsa.sign(&said);
        let google = json!({"id_token": issuer.rsa.sign(&issuer.claims("1001", "grace@example.org"))});
        let grace = w.post("/v1/auth/google", &google).expect(200, "access_token").await;
        let grace = ada.through(grace["access_token"].as_str().unwrap());
        ada.post("/v1/org/invite", &json!({"email": "bob@example.org"})).expect(200, "bob").await;
        let ticket = w.ticket("bob@example.org", "You are invited").await;
        let bob = json!({"email": "bob@example.org", "password": PASSWORD, "invitation": ticket});
        let tv = devices::approved(&ada).await;
        let (_, codes) = mfa::enable(&ada).await;
        let halves = [mfa::first_half(&w, &ada.email).await, mfa::first_half(&w, &ada.email).await];
        for person in [&ada, &grace] {
            add(person, "allow", "198.51.100.0/24").await;
        }
        let exchange = |body: &Value| w.post("/v1/auth/agent-token", body);
        let ways: Vec<Step<'_>> = vec![
            ("Google", Box::new(|_: usize| w.post("/v1/auth/google", &google))),
            (
                "a second factor",
                Box::new(|n: usize| {
                    w.post("/v1/auth/mfa/verify", &json!({"mfa_token": halves[n], "code": codes[n]}))
                }),
            ),
            ("a device", Box::new(|_: usize| w.post("/v1/auth/device/token", &tv))),
            ("an invitation", Box::new(|_: usize| w.post("/v1/auth/signup", &bob))),
            (
                "a certificate",
                Box::new(|_: usize| exchange(&json!({"agent_id": edge})).header("x-client-cert", &print)),
            ),
            ("an issuer's word", Box::new(|_: usize| exchange(&json!({"agent_id": ci, "api_key": said})))),
        ];
        for (what, call) in &ways {
            let reply = call(0).from(AWAY).reply().await;
            assert_eq!(reply.status, 403, "{what}: {}", reply.text);
            reply.expect(403, "An IP rule of your organisation denies this address");
            let reply = call(1).from(HOME).reply().await;
            let token = reply.body["access_token"].as_str().unwrap_or_default();
            assert!(reply.status == 200 && !token.is_empty(), "{what}: {} {}", reply.status, reply.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_wins_and_each_rule_is_about_somebody() {
    on_both(async |w| {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        add(&ada, "allow", "0.0.0.0/0").await;
        add(&ada, "block", "203.0.113.0/24").await;
        let listed = ada.get(RULES).from(HOME).expect(200, "").await;
        let kinds: Vec<&Value> =
            listed["rules"].as_array().unwrap().iter().map(|rule| &rule["rule_type"]).collect();
        assert_eq!(kinds, ["allow", "deny"], "block is deny");
        bot.get("/v1/agents/me").from(AWAY).expect(403, "IP rule").await;
        bot.get("/v1/agents/me").from("192.0.2.1").expect(200, "").await;
        bot.get("/v1/agents/me").from("2001:db8::1").expect(403, "IP rule").await;
        for rule in listed["rules"].as_array().unwrap().iter().rev() {
            ada.delete(&format!("{RULES}/{}", rule["id"].as_str().unwrap())).from(HOME).expect(204, "").await;
        }
        let agents = json!({"rule_type": "allow", "cidr": "2001:db8::/32", "applies_to": "agents"});
        ada.post(RULES, &agents).from(HOME).expect(201, "agents").await;
        bot.get("/v1/agents/me").from(HOME).expect(403, "IP rule").await;
        bot.get("/v1/agents/me").from("2001:db8::1").expect(200, "").await;
        ada.get("/v1/vaults").from(AWAY).expect(200, "").await;
    })
    .await;
}

/// It may be somebody else who has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_password_from_elsewhere_is_told() {
    on_both(async |w| {
        let ada = w.owner("ada").await;
        let id = ada.id().await;
        add(&ada, "allow", HOME).await;
        let right = json!({"email": "ada@example.org", "password": PASSWORD});
        w.post("/v1/auth/token", &right).from(HOME).expect(200, "access_token").await;
        w.post("/v1/auth/token", &right).from(AWAY).expect(403, "IP rule").await;
        let begun = Instant::now();
        let event = loop {
            let page = ada.get("/v1/audit/events?action=auth.failure").from(HOME).expect(200, "events").await;
            match page["events"].as_array().unwrap().as_slice() {
                [] => assert!(begun.elapsed() < Duration::from_secs(15), "nobody is told"),
                [event] => break event.clone(),
                more => panic!("{more:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!((&event["details"]["method"], &event["ip_address"]), (&json!("ip_rule"), &json!(AWAY)));
        assert_eq!((&event["actor_id"], &event["resource_id"]), (&json!(id), &json!(id)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_locks_themselves_out() {
    on_both(async |w| {
        let ada = w.owner("ada").await;
        let rule = |kind: &str, cidr: &str| json!({"rule_type": kind, "cidr": cidr});
        let out = "you would be locked out: they deny 198.51.100.7";
        let (allow, leave) = (format!("{out}. First allow"), format!("{out}. Leave your own address out"));
        ada.post(RULES, &rule("allow", AWAY)).from(HOME).expect(409, &allow).await;
        ada.post(RULES, &rule("deny", "198.51.100.0/24")).from(HOME).expect(409, &leave).await;
        ada.post(RULES, &rule("allow", "10.0.0.0/8")).from("nobody").expect(409, "not known").await;
        let home = add(&ada, "allow", HOME).await;
        add(&ada, "allow", "10.0.0.0/8").await;
        let path = format!("{RULES}/{}", home["id"].as_str().unwrap());
        ada.delete(&path).from(HOME).expect(409, &allow).await;
        let agents = json!({"rule_type": "deny", "cidr": HOME, "applies_to": "agents"});
        ada.post(RULES, &agents).from(HOME).expect(201, "").await;
        assert_eq!(ada.get(RULES).from(HOME).expect(200, "").await["rules"].as_array().unwrap().len(), 3);
        // From the other network it may go.
        ada.delete(&path).from("10.1.1.1").expect(204, "").await;
        ada.delete(&path).from("10.1.1.1").expect(404, "No such IP rule").await;
        ada.get(RULES).from(HOME).expect(403, "IP rule").await;
    })
    .await;
}

/// Whatever is added and deleted at once, each change is judged with all that were before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_at_once_lock_nobody_out_either() {
    on_both(async |w| {
        let ada = w.owner("ada").await;
        for _ in 0..5 {
            let first = add(&ada, "allow", HOME).await;
            let second = add(&ada, "allow", "198.51.100.0/24").await;
            let other = add(&ada, "allow", "10.0.0.0/8").await;
            let path = |rule: &Value| format!("{RULES}/{}", rule["id"].as_str().unwrap());
            // Either may go, not both: the last allowance would then be somebody else's.
            let replies =
                join_all([&first, &second].map(|rule| ada.delete(&path(rule)).from(HOME).reply())).await;
            let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
            statuses.sort();
            assert_eq!(statuses, [204, 409]);
            ada.delete(&path(&other)).from(HOME).expect(204, "").await;
            let left = if replies[0].status == 204 { &second } else { &first };
            ada.delete(&path(left)).from(HOME).expect(204, "").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_understood_is_refused_and_rules_are_their_managers_alone() {
    on_both(async |w| {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let bot = ada.agent("bot").make().await;
        for (body, told) in [
            (json!({"cidr": "10.0.0.0/8"}), "rule_type"),
            (json!({"rule_type": "maybe", "cidr": "10.0.0.0/8"}), "rule_type: must be"),
            (json!({"rule_type": "deny"}), "cidr"),
            (json!({"rule_type": "deny", "cidr": "10.0.0.1/8"}), "write 10.0.0.0/8"),
            (json!({"rule_type": "deny", "cidr": "10.0.0.0/64"}), "cidr: must be"),
            (json!({"rule_type": "deny", "cidr": "example.org"}), "cidr: must be"),
            (json!({"rule_type": "deny", "cidr": "10.0.0.0/8", "applies_to": "robots"}), "applies_to: must be"),
            (json!({"rule_type": "deny", "cidr": "10.0.0.0/8", "expires_at": "2030-01-01T00:00:00Z"}), "expires_at must be left out"),
            (json!({"rule_type": "deny", "cidr": "10.0.0.0/8", "label": "x".repeat(300)}), "label"),
        ] {
            ada.post(RULES, &body).expect(400, told).await;
        }
        // What says nothing is taken.
        let body = json!({"rule_type": "deny", "cidr": "::ffff:10.0.0.0/104", "label": "", "applies_to": null, "expires_at": null});
        let rule = ada.post(RULES, &body).expect(201, "10.0.0.0/8").await;
        assert!(rule.get("label").is_none());
        let path = format!("{RULES}/{}", rule["id"].as_str().unwrap());
        let (_, scoped) = ada.api_key(&json!({"name": "k", "scopes": ["keys/**"]})).await;
        let good = json!({"rule_type": "deny", "cidr": "10.0.0.0/8"});
        for (token, seen, told) in
            [(&bot.token, "Agents may not", "for people"), (&scoped, "with scopes", "came from an API key")]
        {
            w.call(Method::GET, RULES, Some(token)).expect(403, seen).await;
            w.call(Method::POST, RULES, Some(token)).json(&good).expect(403, told).await;
            w.call(Method::DELETE, &path, Some(token)).expect(403, told).await;
        }
        eve.delete(&path).expect(404, "No such IP rule").await;
        assert_eq!(eve.get(RULES).expect(200, "").await["rules"], json!([]));
        ada.delete(&format!("{RULES}/x")).expect(400, "must be a UUID").await;
        ada.delete(&path).expect(204, "").await;
        let trail: Vec<(String, String)> =
            sqlx::query_as("SELECT action, details FROM audit_events WHERE action LIKE 'ip_rule.%' ORDER BY sequence")
                .fetch_all(&w.database().await).await.unwrap();
        let told = r#"{"applies_to":"all","cidr":"10.0.0.0/8","rule_type":"deny"}"#.to_owned();
        assert_eq!(trail, [("ip_rule.create".to_owned(), told.clone()), ("ip_rule.delete".to_owned(), told)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_counts_on_every_gateway_within_a_second() {
    on_both(async |w| {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let other = w.beside().await;
        other.get("/v1/agents/me", &bot.token).from(AWAY).expect(200, "").await;
        add(&ada, "deny", AWAY).await;
        let begun = Instant::now();
        bot.get("/v1/agents/me").from(AWAY).expect(403, "IP rule").await;
        while other.get("/v1/agents/me", &bot.token).from(AWAY).reply().await.status != 403 {
            assert!(begun.elapsed() < Duration::from_millis(1200), "after {:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

both! {
    /// What leaks must not lock out those who could take it back.
    async fn an_api_key_or_a_device_changes_no_rule(w: World) {
        let ada = w.owner("ada").await;
        let (_, key) = ada.api_key(&json!({"name": "ci"})).await;
        let others = [(ada.through(&key), "API key"), (devices::through_a_device(&ada).await, "device's login")];
        let rule = json!({"rule_type": "allow", "cidr": "127.0.0.1"});
        for (program, told) in &others {
            program.post(RULES, &rule).expect(403, told).await;
        }
        let made = ada.post(RULES, &rule).expect(201, "id").await;
        for (program, told) in &others {
            program.get(RULES).expect(200, "127.0.0.1").await;
            program.delete(&format!("{RULES}/{}", made["id"].as_str().unwrap())).expect(403, told).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_lets_in_whom_their_own_rules_keep_out() {
    on_both(async |w| {
        let ada = w.owner("ada").await;
        let eve = w.owner("eve").await;
        add(&ada, "allow", HOME).await;
        add(&eve, "allow", HOME).await;
        ada.get("/v1/vaults").from(AWAY).expect(403, "IP rule").await;
        let done = recover(&w, &[&ada.email, "--ip-rules"]);
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(
            done.status.success() && said.starts_with("IP rules removed: 1.") && !said.contains('#'),
            "{said}"
        );
        let begun = Instant::now();
        while ada.get("/v1/vaults").from(AWAY).reply().await.status != 200 {
            assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let trail = ada.get("/v1/audit/events?action=ip_rule.delete").from(AWAY).expect(200, HOME).await;
        assert_eq!(trail["events"].as_array().unwrap().len(), 1, "{trail}");
        eve.get("/v1/vaults").from(AWAY).expect(403, "IP rule").await;
        let unknown = recover(&w, &["nobody@example.org", "--ip-rules"]);
        assert!(
            !unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("No such account")
        );
    })
    .await;
}
