//! What the signer would not do is on the audit trail, with who asked for it and which rule they ran against.

use harness::{ADDRESSES, Person, Value, both, json};

/// The refusals on the trail, once there are `count`, newest first.
pub async fn refusals(ada: &Person<'_>, count: usize) -> Vec<Value> {
    for _ in 0..100 {
        let found = ada.get("/v1/audit/events?action=signer.refusal").expect(200, "").await;
        let events = found["events"].as_array().unwrap().clone();
        if events.len() >= count {
            assert_eq!(events.len(), count, "{events:?}");
            return events;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{count} refusals are not on the trail\n{}", ada.world.said());
}

both! { with chain,
    async fn guardrails_that_were_run_against_are_told(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").set("tx_max_value_eth", "0.1").make().await;
        bot.send(ADDRESSES[2], "0.1").expect(201, "").await;
        // A mistake is no attempt.
        bot.send("0x12", "0.1").expect(400, "to:").await;
        bot.send(ADDRESSES[2], "0.2").expect(403, "tx_max_value_eth").await;
        let told = refusals(&ada, 1).await;
        assert_eq!(
            (&told[0]["actor_id"], &told[0]["actor_type"], &told[0]["resource_id"]),
            (&json!(bot.id), &json!("agent"), &json!("submitTransaction"))
        );
        let details = &told[0]["details"];
        assert_eq!((&details["rule"], &details["guardrail"]), (&json!("guardrail"), &json!("tx_max_value_eth")));
        assert!(details["detail"].as_str().unwrap().contains("0.2 ether asked"), "{details}");
        // A gateway that was taken over would not tell of it: so the signer says it by itself, too.
        let said = w.said();
        assert!(said.lines().any(|line| line.contains("guardrail") && line.contains("refused")), "{said}");
    }
}

both! {
    async fn what_was_tampered_with_is_told(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "one").await;
        vault.put("b", "generic", "two").await;
        w.sql(
            "UPDATE secret_versions SET sealed = (SELECT v.sealed FROM secret_versions v JOIN secrets s \
             ON s.id = v.secret_id WHERE s.path = 'a') WHERE secret_id IN (SELECT id FROM secrets WHERE path = 'b')",
        )
        .await;
        ada.get(&vault.path("b")).expect(403, "an operator must look").await;
        let told = refusals(&ada, 1).await;
        assert_eq!((&told[0]["details"]["rule"], &told[0]["resource_id"]), (&json!("tampered"), &json!("getSecret")));
        assert!(!told[0].to_string().contains("one"), "{}", told[0]);
    }
}
