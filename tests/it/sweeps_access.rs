//! What others may reach of an organisation: another one's people, its own agents, its own members. For every operation that there
//! is, now and later.

use std::time::Duration;

use harness::{Agent, Person, Value, Vault, World, both, json};

use crate::approvals::member;
use crate::sweeps::{NOBODY, Named, Operation, operations};

/// What names no thing of an organisation's; and the three that need a chain, a customer's key or an authenticator to be there,
/// whose own tests look at them.
const NOT_THINGS: [&str; 8] =
    ["path", "version", "key", "identifier", "user_code", "tx_id", "job_id", "passkey_id"];

/// An organisation with one of each thing that an id names, but for [`NOT_THINGS`].
struct Things<'p> {
    vault: Vault<'p>,
    /// An agent that may read one secret, and another one once people have approved it.
    agent: Agent<'p>,
    named: Vec<Named>,
}

impl<'p> Things<'p> {
    async fn of(ada: &'p Person<'p>) -> Self {
        let id = |made: &Value| made["id"].as_str().unwrap().to_owned();
        let vault = ada.vault("main").await;
        let secret = id(&vault.put("keys/a", "generic", "v").await);
        vault.put("asked/a", "generic", "v").await;
        let agent = ada.agent("reader").make().await;
        let policy = id(&vault.allow(&agent.id, "keys/a", &["read"]).await);
        let asks = json!({"secret_path_pattern": "asked/*", "principal_type": "agent", "principal_id": agent.id,
            "permissions": ["read"], "conditions": {"require_approval": true}});
        ada.post(&format!("/v1/vaults/{}/policies", vault.id), &asks).expect(201, "id").await;
        let refused = agent.get(&vault.path("asked/a")).expect(403, "approval_required").await;
        let approval = refused["approval_request_id"].as_str().unwrap().to_owned();
        let (key, _) = ada.api_key(&json!({"name": "ci"})).await;
        let rule = json!({"rule_type": "deny", "cidr": "203.0.113.9"});
        let rule = id(&ada.post("/v1/security/ip-rules", &rule).expect(201, "id").await);
        // Nothing here ends a vault, and so nothing is sent.
        let hook = json!({"url": "https://hooks.example.org/in", "events": ["vault.delete"]});
        let hook = id(&ada.post("/v1/webhooks", &hook).expect(201, "id").await);
        ada.post("/v1/org/invite", &json!({"email": "guest@example.org"})).expect(200, "guest").await;
        let open = ada.get("/v1/org/invitations").expect(200, "guest").await;
        let end = domain::Clock::default().now().plus(Duration::from_secs(3600)).to_string();
        let share = json!({"recipient_type": "agent", "recipient_id": agent.id, "expires_at": end});
        let share = id(&ada.post(&format!("/v1/secrets/{secret}/share"), &share).expect(201, "id").await);
        let named = vec![
            ("vault_id", vault.id.clone()),
            ("agent_id", agent.id.clone()),
            ("policy_id", policy),
            ("secret_id", secret),
            ("share_id", share),
            ("approval_id", approval),
            ("key_id", key),
            ("rule_id", rule),
            ("webhook_id", hook),
            ("invitation_id", id(&open["invitations"][0])),
            ("user_id", ada.id().await),
        ];
        Self { vault, agent, named }
    }

    fn id(&self, name: &str) -> &str {
        &self.named.iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// Nothing has happened to them.
    async fn stand(&self, ada: &Person<'_>) {
        self.agent.get(&self.vault.path("keys/a")).expect(200, "v").await;
        ada.get(&format!("/v1/approvals/{}", self.id("approval_id"))).expect(200, "pending").await;
        ada.get(&format!("/v1/webhooks/{}", self.id("webhook_id"))).expect(200, r#""active":true"#).await;
        for (list, name) in [
            ("/v1/auth/api-keys", "key_id"),
            ("/v1/security/ip-rules", "rule_id"),
            ("/v1/org/invitations", "invitation_id"),
            ("/v1/shares/outbound", "share_id"),
            ("/v1/org/members", "user_id"),
        ] {
            ada.get(list).expect(200, self.id(name)).await;
        }
        let policies = format!("/v1/vaults/{}/policies", self.vault.id);
        ada.get(&policies).expect(200, self.id("policy_id")).await;
    }
}

both! {
    async fn another_organisations_things_are_not_there(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let things = Things::of(&ada).await;
        let (own, spy) = (eve.vault("own").await, eve.agent("spy").intents().make().await);
        for operation in operations().iter().filter(|o| o.of_organisations() && o.path.contains('{')) {
            for placeholder in operation.path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
                let is_thing = things.named.iter().any(|(name, _)| *name == placeholder);
                assert!(is_thing || NOT_THINGS.contains(&placeholder), "{placeholder} is neither in Things nor none");
            }
            let nobodys = operation.with(&[], NOBODY);
            let mut theirs = vec![(operation.with(&things.named, NOBODY), nobodys)];
            // As if it were in one's own vault.
            if operation.path.contains("{policy_id}") {
                let within = |other: &str| operation.at(&own.id, &spy.id, other);
                theirs.push((within(things.id("policy_id")), within(NOBODY)));
            }
            for (theirs, nobodys) in theirs {
                let there = operation.call(&w, &theirs, Some(&eve.token)).expect(404, "No such").await;
                let nowhere = operation.call(&w, &nobodys, Some(&eve.token)).expect(404, "No such").await;
                assert_eq!(there, nowhere, "{} tells that it exists", operation.id);
                // An agent is refused either way.
                let there = operation.call(&w, &theirs, Some(&spy.token)).reply().await;
                let nowhere = operation.call(&w, &nobodys, Some(&spy.token)).reply().await;
                assert!([403, 404].contains(&there.status), "{}: {} {}", operation.id, there.status, there.text);
                assert_eq!(there.text, nowhere.text, "{} tells that it exists", operation.id);
            }
            if !operation.path.contains("{passkey_id}") {
                operation.call(&w, &operation.at("x", "x", "x"), Some(&eve.token)).expect(400, "must be a UUID").await;
            }
        }
        // Nor is it in any list.
        for operation in operations().iter().filter(|o| o.of_organisations() && o.lists()) {
            for token in [&eve.token, &spy.token] {
                let reply = operation.call(&w, &operation.path, Some(token)).reply().await;
                for (name, id) in &things.named {
                    assert!(!reply.text.contains(id.as_str()), "{} shows a {name}: {}", operation.id, reply.text);
                }
            }
        }
        things.stand(&ada).await;
    }
}

/// Calls everything that is neither public nor the operators': what is open answers something else than that it is refused or not
/// there, and nothing else does. An operation that is new is in one of the lists, or refuses.
async fn opens(w: &World, token: &str, open: &[&str], things: &Things<'_>) {
    let mut all: Vec<_> = operations().into_iter().filter(Operation::of_organisations).collect();
    for id in open {
        assert!(all.iter().any(|o| o.id == *id), "there is no {id}");
    }
    // The last one ends the token.
    all.sort_by_key(|o| o.id == "revokeToken");
    for operation in &all {
        let path = operation.with(&things.named, NOBODY);
        let reply = operation.call(w, &path, Some(token)).reply().await;
        let is_open = ![403, 404].contains(&reply.status);
        let expected = open.contains(&operation.id.as_str());
        assert_eq!(is_open, expected, "{}: {} {}", operation.id, reply.status, reply.text);
    }
}

/// What every agent may ask for: what is its own is in the answer, and nothing else.
const OPEN_TO_AGENTS: [&str; 12] = [
    "createApproval",
    "createVault",
    "explainAccess",
    "getAgentSelf",
    "listAgents",
    "listApprovals",
    "listInboundShares",
    "listOutboundShares",
    "listVaults",
    "revokeToken",
    "streamEvents",
    "waitForApproval",
];

both! {
    async fn an_agent_without_rights_gets_none_from_any_operation(w: World) {
        let ada = w.owner("ada").await;
        let things = Things::of(&ada).await;
        let bot = ada.agent("bot").intents().make().await;
        opens(&w, &bot.token, &OPEN_TO_AGENTS, &things).await;
        things.stand(&ada).await;
    }
}

/// What every member may ask for: what is their own, and to see who and what there is in the organisation.
const OPEN_TO_MEMBERS: [&str; 31] = [
    "addPasskey",
    "changePassword",
    "createAgent",
    "createApiKey",
    "createVault",
    "deleteMe",
    "deviceApprove",
    "deviceDeny",
    "explainAccess",
    "getAgent",
    "getApproval",
    "getMe",
    "joinOrganisation",
    "listAgents",
    "listApiKeys",
    "listApprovals",
    "listInboundShares",
    "listOrgMembers",
    "listOutboundShares",
    "listPasskeys",
    "listTransactions",
    "listVaults",
    "mfaDisable",
    "mfaSetup",
    "mfaStatus",
    "mfaVerifySetup",
    "passkeyChallenge",
    "revokeToken",
    "streamEvents",
    "updateMe",
    "waitForApproval",
];

both! {
    /// What members may not: the organisation's people, its addresses, its kill switch, its trail, its webhooks, and what others have
    /// made.
    async fn a_member_gets_nothing_that_owners_and_admins_decide(w: World) {
        let ada = w.owner("ada").await;
        let things = Things::of(&ada).await;
        let bob = member(&ada, "bob", "member").await;
        opens(&w, &bob.token, &OPEN_TO_MEMBERS, &things).await;
        things.stand(&ada).await;
    }
}
