//! Which key signs, and what is not signed because no node would have it: a nonce that is held for it is held against
//! everyone who shares the key.

use harness::{ADDRESSES, Agent, KEYS, Person, Vault, both, json};

const PATH: &str = "keys/local-signer";

async fn funded<'p>(ada: &'p Person<'p>, name: &str) -> Vault<'p> {
    let vault = ada.vault(name).await;
    vault.put_key(PATH, 0).await;
    vault
}

async fn sender(bot: &Agent<'_>) -> String {
    let sent = bot.send(ADDRESSES[2], "0.1").expect(201, "").await;
    sent["from"].as_str().unwrap().to_owned()
}

both! {
    with chain,
    async fn one_agent_puts_no_key_or_vault_in_anothers_way(w: World) {
        let ada = w.owner("ada").await;
        let mallory = ada.agent("mallory").make().await;
        // The oldest vault of all is the attacker's.
        let trap = mallory.post("/v1/vaults", &json!({"name": "trap"})).expect(201, "").await;
        let trap = trap["id"].as_str().unwrap().to_owned();
        let at = format!("/v1/vaults/{trap}/secrets/{PATH}");
        mallory.put(&at, &json!({"type": "private_key", "value": KEYS[1]})).expect(201, "").await;
        let vault = funded(&ada, "main").await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
        let grant = json!({"secret_path_pattern": "**", "principal_type": "agent", "principal_id": bot.id, "permissions": ["read", "write"]});
        mallory.post(&format!("/v1/vaults/{trap}/policies"), &grant).expect(201, "").await;
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        assert_eq!(sender(&bot).await, ADDRESSES[0], "signed with a key that another agent put there");
        // Nor does its default vault change, for this agent or for one that has none.
        bot.tool("describe_secret", &json!({"path": PATH})).await.expect("private_key");
        let none = ada.agent("none").make().await;
        let grant = json!({"secret_path_pattern": "**", "principal_type": "agent", "principal_id": none.id, "permissions": ["write"]});
        mallory.post(&format!("/v1/vaults/{trap}/policies"), &grant).expect(201, "").await;
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        none.tool("put_secret", &json!({"path": "a", "value": "v"})).await.refused("no vault yet");
        // Whoever asks for it by name may have it.
        none.tool_in(Some(&trap), "put_secret", &json!({"path": "a", "value": "v"})).await.expect("version");
    }
}

both! {
    with chain,
    async fn of_two_keys_at_one_path_the_request_names_one(w: World) {
        let ada = w.owner("ada").await;
        let first = funded(&ada, "first").await;
        let second = ada.vault("second").await;
        second.put_key(PATH, 1).await;
        let other = ada.vault("other").await;
        other.put(PATH, "generic", "no key at all").await;
        let bot = ada.agent("bot").intents().reads(&first, "**").reads(&second, "**").reads(&other, "**").make().await;
        let problem = bot.send(ADDRESSES[2], "0.1").expect(400, "X-Vault-ID").await.to_string();
        assert!(problem.contains(&first.id) && problem.contains(&second.id) && !problem.contains(&other.id), "{problem}");
        for (vault, address) in [(&first, ADDRESSES[0]), (&second, ADDRESSES[1])] {
            let sent = bot.send(ADDRESSES[2], "0.1").header("x-vault-id", &vault.id).expect(201, "").await;
            assert_eq!(sent["from"], address);
        }
        // A vault that is named for other things need not have the key.
        ada.delete(&second.path(PATH)).expect(204, "").await;
        let sent = bot.send(ADDRESSES[2], "0.1").header("x-vault-id", &other.id).expect(201, "").await;
        assert_eq!(sent["from"], ADDRESSES[0]);
        bot.send(ADDRESSES[2], "0.1").header("x-vault-id", "nowhere").expect(400, "X-Vault-ID").await;
    }
}

both! {
    with chain,
    async fn what_no_node_would_take_is_not_signed(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada, "main").await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
        let tx = |more: harness::Value| {
            let mut body = json!({"to": ADDRESSES[2], "value": "0", "chain": "local"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        for (more, named) in [
            (json!({"gas_limit": 21_000, "data": format!("0x{}", "11".repeat(1000))}), "at least 61000"),
            (json!({"gas_price": "1"}), "base fee"),
            (json!({"max_fee_per_gas": "1", "max_priority_fee_per_gas": "1"}), "base fee"),
            (json!({"max_fee_per_gas": "1"}), "base fee"),
        ] {
            bot.submit(&tx(more)).expect(400, named).await;
        }
        // Simulated is what would be sent, gas limit included: a loop that burns some 30,000 gas.
        let contract = "0x00000000000000000000000000000000000c0de3";
        w.anvil().await.ask("anvil_setCode", json!([contract, "0x6103e85b6001900380600357"])).await;
        let call = json!({"to": contract, "value": "0", "chain": "local", "gas_limit": 22_000, "simulate_first": true});
        let refused = bot.submit(&call).reply().await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        assert!(refused.body["error_message"].as_str().unwrap().starts_with("out of gas"), "{}", refused.text);
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 0);
        bot.send(ADDRESSES[2], "0.1").expect(201, "").await;
    }
}
