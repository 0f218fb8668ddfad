//! Asking people over MCP: request_approval, check_approval, then the read.

use harness::{both, json};

both! {
    async fn a_model_asks_and_looks_what_became_of_it(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("db/password", "password", "hunter2").await;
        vault.put("free", "note", "v").await;
        let bot = ada.agent("bot").reads(&vault, "free").make().await;
        let policy = json!({"secret_path_pattern": "db/*", "principal_type": "agent", "principal_id": bot.id, "permissions": ["read"],
            "conditions": {"require_approval": true}});
        ada.post(&format!("/v1/vaults/{}/policies", vault.id), &policy).expect(201, "id").await;
        let wanted = json!({"vault_id": vault.id, "secret_path": "db/password", "reason": "The nightly report needs it."});
        let asked = bot.tool("request_approval", &wanted).await.expect("pending");
        let id = asked["id"].as_str().unwrap();
        let look = json!({"approval_id": id});
        assert_eq!(bot.tool("check_approval", &look).await.expect("pending")["reason"], "The nightly report needs it.");
        ada.post(&format!("/v1/approvals/{id}/approve"), &json!({})).expect(200, "approved").await;
        bot.tool("check_approval", &look).await.expect("approved");
        assert_eq!(bot.tool("get_secret", &json!({"path": "db/password"})).await.expect("hunter2")["value"], "hunter2");
        let free = json!({"vault_id": vault.id, "secret_path": "free"});
        bot.tool("request_approval", &free).await.refused("needs no approval");
        let other = ada.agent("other").make().await;
        other.tool("check_approval", &look).await.refused("No such approval");
    }
}
