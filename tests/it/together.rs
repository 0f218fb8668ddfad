//! What the parts come to together: versions, shares, approvals and customers' keys.

use harness::{CustomerKey, both, json};

use crate::shares::{at, secret, share};

both! {
    async fn a_disabled_version_is_neither_read_nor_shared(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let id = secret(&vault, "api/token", "api_key").await;
        let given = share(&ada, &id, json!({"recipient_type": "anyone_with_link"})).await;
        vault.put("api/token", "api_key", "newer").await;
        w.get(&at(&given)).expect(200, "hunter2").await;
        let disable = |version: u64| format!("/v1/vaults/{}/secret-version-disable/api/token/{version}", vault.id);
        ada.post(&disable(1), &json!({})).expect(200, "disabled").await;
        w.get(&at(&given)).expect(410, "gone").await;
        ada.get(&format!("/v1/vaults/{}/secret-version/api/token/1", vault.id)).expect(410, "disabled").await;
        // What is shared from now on is what a read of the path answers.
        let newer = share(&ada, &id, json!({"recipient_type": "anyone_with_link"})).await;
        w.get(&at(&newer)).expect(200, "newer").await;
        ada.delete(&vault.path("api/token")).expect(204, "").await;
        w.get(&at(&newer)).expect(410, "gone").await;
        // A deletion that is taken back takes nothing else back.
        ada.post(&format!("/v1/vaults/{}/secret-restore/api/token", vault.id), &json!({})).expect(200, "").await;
        w.get(&at(&newer)).expect(200, "newer").await;
        w.get(&at(&given)).expect(410, "gone").await;
    }
}

both! {
    async fn an_approval_is_for_the_version_that_was_asked_for(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let id = vault.put("db/password", "password", "first").await["id"].as_str().unwrap().to_owned();
        vault.put("db/password", "password", "second").await;
        let bot = ada.agent("bot").make().await;
        let policy = json!({"secret_path_pattern": "db/*", "principal_type": "agent", "principal_id": bot.id,
            "permissions": ["read"], "conditions": {"require_approval": true}});
        ada.post(&format!("/v1/vaults/{}/policies", vault.id), &policy).expect(201, "").await;
        let version = |n: u64| format!("/v1/vaults/{}/secret-version/db/password/{n}", vault.id);
        let asked = bot.get(&version(1)).expect(403, "approval_required").await;
        let approval = asked["approval_request_id"].as_str().unwrap();
        ada.post(&format!("/v1/approvals/{approval}/approve"), &json!({})).expect(200, "approved").await;
        let other = bot.get(&version(2)).expect(403, "approval_required").await;
        assert_ne!(other["approval_request_id"].as_str(), Some(approval), "of the other version");
        // The same whether the version is asked for by its number or by the path.
        assert_eq!(
            bot.get(&vault.path("db/password")).expect(403, "approval_required").await["approval_request_id"],
            other["approval_request_id"]
        );
        bot.get(&version(1)).expect(200, "first").await;
        bot.get(&version(1)).expect(403, "approval_required").await;
        bot.get(&version(9)).expect(404, "version").await;
        // Its versions are seen, as its path is; what is read by approval is not passed on.
        bot.get(&format!("/v1/vaults/{}/secret-versions/db/password", vault.id)).expect(200, "live").await;
        let share = json!({"recipient_type": "creator", "expires_at": crate::shares::later(60)});
        bot.post(&format!("/v1/secrets/{id}/share"), &share).expect(403, "").await;
    }
}

both! {
    async fn what_a_customer_encrypts_is_read_by_number_and_never_made_here(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let key = CustomerKey([7; 32]);
        let cmek = format!("/v1/vaults/{}/cmek", vault.id);
        ada.post(&cmek, &json!({"fingerprint": key.fingerprint()})).expect(200, "cmek_enabled").await;
        let value = key.encrypt("hunter2");
        vault.put("a", "password", &value).await;
        let version = format!("/v1/vaults/{}/secret-version/a/1", vault.id);
        let read = ada.get(&version).expect(200, &value).await;
        assert_eq!(read["cmek_encrypted"], true, "{read}");
        let made = format!("/v1/vaults/{}/secret-rotate/a", vault.id);
        ada.post(&made, &json!({})).expect(409, "CMEK").await;
    }
}
