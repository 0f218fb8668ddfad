//! Vaults: made, listed, seen by those who may, deleted for good.

use harness::{both, json};

both! {
    async fn made_listed_deleted(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.post("/v1/vaults", &json!({"name": " main ", "description": "d"})).expect(201, "id").await;
        assert_eq!((&vault["name"], &vault["created_by_type"]), (&json!("main"), &json!("user")));
        let path = format!("/v1/vaults/{}", vault["id"].as_str().unwrap());
        ada.get(&path).expect(200, "main").await;
        let list = ada.get("/v1/vaults").expect(200, "main").await;
        assert_eq!(list["vaults"].as_array().unwrap().len(), 1);
        ada.put(&format!("{path}/secrets/a"), &json!({"value": "v"})).expect(201, "").await;
        ada.delete(&path).expect(204, "").await;
        ada.get(&path).expect(404, "vault").await;
        ada.delete(&path).expect(404, "vault").await;
        ada.get(&format!("{path}/secrets/a")).expect(404, "vault").await;
        ada.post("/v1/vaults", &json!({"name": " "})).expect(400, "name:").await;
        ada.post("/v1/vaults", &json!({})).expect(400, "name").await;
    }
}

both! {
    async fn another_organisations_vault_is_not_there(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        let path = format!("/v1/vaults/{}", vault.id);
        eve.get(&path).expect(404, "vault").await;
        eve.delete(&path).expect(404, "vault").await;
        eve.get(&vault.path("a")).expect(404, "vault").await;
        eve.put(&vault.path("a"), &json!({"value": "x"})).expect(404, "vault").await;
        eve.get(&format!("{path}/secrets")).expect(404, "vault").await;
        eve.get(&format!("{path}/policies")).expect(404, "vault").await;
        assert!(eve.get("/v1/vaults").expect(200, "").await["vaults"].as_array().unwrap().is_empty());
        eve.get("/v1/vaults/not-an-id").expect(400, "vault_id: must be a UUID").await;
    }
}

both! {
    async fn an_agent_sees_the_vaults_that_it_may_use(w: World) {
        let ada = w.owner("ada").await;
        let (shown, hidden) = (ada.vault("shown").await, ada.vault("hidden").await);
        let bot = ada.agent("bot").reads(&shown, "x/**").make().await;
        let list = bot.get("/v1/vaults").expect(200, "shown").await;
        let names: Vec<_> = list["vaults"].as_array().unwrap().iter().map(|v| (&v["name"], &v["reserved"])).collect();
        assert_eq!(names, [(&json!("shown"), &json!(false)), (&json!("__agent-keys"), &json!(true))]);
        bot.get(&format!("/v1/vaults/{}", hidden.id)).expect(403, "ask").await;
        bot.delete(&format!("/v1/vaults/{}", shown.id)).expect(403, "").await;
        let own = bot.post("/v1/vaults", &json!({"name": "own"})).expect(201, "agent").await;
        let path = format!("/v1/vaults/{}/secrets/a", own["id"].as_str().unwrap());
        bot.put(&path, &json!({"value": "mine"})).expect(201, "").await;
        bot.get(&path).expect(200, "mine").await;
        ada.get(&path).expect(403, "No read permission").await;
    }
}
