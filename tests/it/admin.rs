//! Operators: the registry of chains, the settings, and what each changes for everybody else.

use std::time::Duration;

use harness::{ADDRESSES, Agent, Database, Person, Value, World, both, json};
use reqwest::Method;

const KEY: &str = "hunter2hunter2";

/// A chain of the operators' own, on the world's node, which is not in the configuration.
async fn own_chain(w: &World, root: &Person<'_>) -> Value {
    let url = w.anvil().await.url();
    // Its number is the node's, so the seeded one has to go.
    root.delete("/v1/admin/chains/31337").expect(204, "").await;
    let body = json!({"name": "own-chain", "display_name": "Our own", "chain_id": 31337, "rpc_url": url, "is_testnet": true});
    root.post("/v1/admin/chains", &body).expect(201, "own-chain").await
}

async fn agent_with_key<'p>(ada: &'p Person<'p>) -> Agent<'p> {
    let vault = ada.vault("main").await;
    vault.put_key("keys/own-chain-signer", 0).await;
    ada.agent("bot").intents().reads(&vault, "keys/**").make().await
}

fn transfer(value: &str) -> Value {
    json!({"chain": "own-chain", "to": ADDRESSES[1], "value": value})
}

async fn is_listed(w: &World, name: &str) -> bool {
    let list = w.get("/v1/chains").expect(200, "chains").await;
    list["chains"].as_array().unwrap().iter().any(|chain| chain["name"] == name)
}

both! {
    with chain,
    async fn a_chain_of_the_operators_own_takes_transactions_until_it_is_disabled(w: World) {
        let (root, ada) = (w.operator().await, w.owner("ada").await);
        let bot = agent_with_key(&ada).await;
        bot.submit(&transfer("1")).expect(400, "chain: must be").await;
        let made = own_chain(&w, &root).await;
        assert_eq!((&made["native_currency"], &made["is_enabled"], &made["is_testnet"]), (&json!("ETH"), &json!(true), &json!(true)));
        let sent = bot.submit(&transfer("1")).header("idempotency-key", "first").expect(201, "signed_tx").await;
        let id = sent["id"].as_str().unwrap();
        bot.until(id, "confirmed").await;
        assert_eq!(w.anvil().await.balance(ADDRESSES[1]).await, 10_001 * 1_000_000_000_000_000_000);

        let path = format!("/v1/admin/chains/{}", made["id"].as_str().unwrap());
        root.put(&path, &json!({"is_enabled": false})).expect(200, "\"is_enabled\":false").await;
        bot.submit(&transfer("1")).expect(400, "an operator may have disabled it").await;
        // What came before is still found by its key.
        bot.submit(&transfer("1")).header("idempotency-key", "first").expect(200, id).await;
        assert!(!is_listed(&w, "own-chain").await);
        root.get("/v1/admin/chains").expect(200, "own-chain").await;
        root.put(&path, &json!({"is_enabled": true})).expect(200, "\"is_enabled\":true").await;
        bot.submit(&transfer("1")).expect(201, "signed_tx").await;
        assert!(is_listed(&w, "own-chain").await);
    }
}

both! {
    with chain,
    async fn a_chain_with_open_transactions_stays_until_they_are_done(w: World) {
        let (root, ada) = (w.operator().await, w.owner("ada").await);
        let bot = agent_with_key(&ada).await;
        let made = own_chain(&w, &root).await;
        w.anvil().await.ask("evm_setAutomine", json!([false])).await;
        let sent = bot.submit(&transfer("1")).expect(201, "signed_tx").await;
        let path = format!("/v1/admin/chains/{}", made["id"].as_str().unwrap());
        root.delete(&path).expect(409, "1 transactions on own-chain are still open").await;
        // Disabled, it still carries what is under way.
        root.put(&path, &json!({"is_enabled": false})).expect(200, "").await;
        w.anvil().await.ask("evm_mine", json!([])).await;
        let id = sent["id"].as_str().unwrap();
        bot.until(id, "confirmed").await;
        root.delete(&path).expect(204, "").await;
        root.delete(&path).expect(404, "No such chain").await;
        w.get("/v1/chains/own-chain").expect(404, "chain").await;
        // What was done on it is still there.
        bot.get(&format!("{}/{id}", bot.transactions())).expect(200, "own-chain").await;
    }
}

/// A gateway that has not heard of it yet, or a request that has read the chain already, adds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_is_disabled_for_what_has_read_it_before() {
    for database in [Database::Sqlite, Database::Postgres] {
        let w = World::on(database).chain().start().await;
        let (root, ada) = (w.operator().await, w.owner("ada").await);
        let bot = agent_with_key(&ada).await;
        own_chain(&w, &root).await;
        for round in 0..5 {
            bot.submit(&transfer("0.1")).expect(201, "signed_tx").await;
            // Behind the cache's back, as another gateway's change comes.
            w.sql("UPDATE chains SET is_enabled = 0 WHERE chain_id = 31337").await;
            bot.submit(&transfer("0.1")).expect(400, "chain: must be").await;
            w.sql("UPDATE chains SET is_enabled = 1 WHERE chain_id = 31337").await;
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let list = bot.get(&bot.transactions()).expect(200, "").await;
            assert_eq!(
                list["transactions"].as_array().unwrap().len(),
                round + 1,
                "one was added to a disabled chain"
            );
        }
    }
}

both! {
    with chain,
    async fn submissions_and_a_delete_at_once_leave_no_transaction_without_its_chain(w: World) {
        let (root, ada) = (w.operator().await, w.owner("ada").await);
        let bot = agent_with_key(&ada).await;
        own_chain(&w, &root).await;
        let begun = std::time::Instant::now();
        let first = bot.submit(&transfer("0.01")).expect(201, "").await;
        // From before the first submission is under way to after the last one is stored.
        let step = begun.elapsed() / 4;
        bot.until(first["id"].as_str().unwrap(), "confirmed").await;
        w.anvil().await.ask("evm_setAutomine", json!([false])).await;
        let body = json!({"name": "own-chain", "display_name": "Our own", "chain_id": 31337, "rpc_url": w.anvil().await.url()});
        let (mut deleted, mut kept) = (0, 0);
        for round in 0..12 {
            let send = futures::future::join_all((0..6).map(|_| bot.submit(&transfer("0.01")).reply()));
            let delete = async {
                tokio::time::sleep(step * round).await;
                root.delete("/v1/admin/chains/31337").reply().await
            };
            let (sent, gone) = tokio::join!(send, delete);
            assert!(sent.iter().all(|reply| [201, 400].contains(&reply.status)), "{:?}", sent.iter().map(|r| &r.text).collect::<Vec<_>>());
            let accepted = sent.iter().filter(|reply| reply.status == 201).count();
            // Nothing is mined: what was accepted is open.
            match gone.status {
                204 => {
                    assert_eq!(accepted, 0, "accepted on a chain that was deleted as having none open");
                    root.post("/v1/admin/chains", &body).expect(201, "").await;
                    deleted += 1;
                }
                409 => kept += 1,
                other => panic!("{other}: {}", gone.text),
            }
            w.anvil().await.ask("evm_mine", json!([])).await;
            for reply in sent.iter().filter(|reply| reply.status == 201) {
                bot.until(reply.body["id"].as_str().unwrap(), "confirmed").await;
            }
        }
        assert!(deleted > 0 && kept > 0, "{deleted} deleted, {kept} kept: no race was run");
    }
}

both! {
    async fn a_change_on_another_gateway_counts_within_a_second(w: World) {
        let root = w.operator().await;
        assert!(is_listed(&w, "base").await);
        w.sql("UPDATE chains SET is_enabled = 0 WHERE name = 'base'").await;
        w.sql("INSERT INTO settings (key, value, updated_by, updated_at) VALUES ('auth.open_signup', 'false', NULL, 0)").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert!(!is_listed(&w, "base").await);
        let eve = json!({"email": "eve@example.org", "password": harness::PASSWORD});
        w.post("/v1/auth/signup", &eve).expect(403, "operators have closed it").await;
        root.delete("/v1/admin/settings/auth.open_signup").expect(204, "").await;
        w.post("/v1/auth/signup", &eve).expect(200, "access_token").await;
    }
}

both! {
    async fn addresses_are_shown_to_operators_and_to_others_only_when_public(w: World) {
        let root = w.operator().await;
        let url = format!("https://user:{KEY}@node.example/v2/{KEY}");
        let ws = format!("wss://node.example/{KEY}");
        let body = json!({"name": "x", "display_name": "X", "chain_id": 777_001, "rpc_url": url, "ws_url": ws,
            "explorer_url": "https://scan.example", "native_currency": "XYZ", "unknown_field": 1});
        let made = root.post("/v1/admin/chains", &body).expect(201, KEY).await;
        assert_eq!((&made["urls_public"], &made["rpc_from_configuration"]), (&json!(false), &json!(false)));
        let public = w.get("/v1/chains/x").expect(200, "https://scan.example").await;
        assert!(public.get("rpc_url").is_none() && public.get("ws_url").is_none(), "{public}");
        let listed = root.get("/v1/admin/chains").expect(200, &url).await;
        assert!(listed["chains"].as_array().unwrap().len() > 10, "all of them");
        root.put("/v1/admin/chains/777001", &json!({"urls_public": true})).expect(200, "").await;
        w.get("/v1/chains/777001").expect(200, &ws).await;
        root.put("/v1/admin/chains/777001", &json!({"urls_public": false})).expect(200, "").await;
        assert!(!w.get("/v1/chains").expect(200, "scan.example").await.to_string().contains(KEY));
        // Neither the log nor the audit trail has the addresses; the trail has that they changed.
        root.put("/v1/admin/chains/777001", &json!({"rpc_url": format!("https://{KEY}.example")})).expect(200, "").await;
        root.put("/v1/admin/chains/777001", &json!({"rpc_url": format!("ftp://{KEY}")})).expect(400, "rpc_url").await;
        root.delete("/v1/admin/chains/777001").expect(204, "").await;
        let events = trail(&w).await;
        let actions: Vec<_> = events.iter().map(|(action, _)| action.as_str()).filter(|a| a.starts_with("chain.")).collect();
        assert_eq!(actions, ["chain.create", "chain.update", "chain.update", "chain.update", "chain.delete"]);
        assert!(events.iter().any(|(_, details)| details.contains(r#""changed":["rpc_url"]"#)), "{events:?}");
        assert!(events.iter().all(|(_, details)| !details.contains(KEY)), "{events:?}");
        assert!(!w.said().contains(KEY), "{}", w.said());
    }
}

/// Actions and details, in order.
async fn trail(w: &World) -> Vec<(String, String)> {
    let rows = sqlx::query_as("SELECT action, details FROM audit_events ORDER BY org_id, sequence");
    rows.fetch_all(&w.database().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_from_the_configuration_is_shown_to_nobody() {
    let url = format!("https://node.example/{KEY}");
    let w = World::on(Database::Sqlite).with("TALON_RPC_LOCAL", &url).start().await;
    let root = w.operator().await;
    root.put("/v1/admin/chains/31337", &json!({"urls_public": true})).expect(200, "").await;
    let list = root.get("/v1/admin/chains").expect(200, "local").await;
    let local = list["chains"].as_array().unwrap().iter().find(|c| c["name"] == "local").unwrap();
    assert_eq!((local.get("rpc_url"), &local["rpc_from_configuration"]), (None, &json!(true)));
    assert!(!list.to_string().contains(KEY));
    assert!(!w.get("/v1/chains/local").expect(200, "").await.to_string().contains(KEY));
}

both! {
    async fn patches_keep_clear_and_set(w: World) {
        let root = w.operator().await;
        let body = json!({"name": "x", "display_name": "X", "chain_id": 777_001, "rpc_url": "http://127.0.0.1:1",
            "ws_url": "ws://127.0.0.1:1", "explorer_url": "https://scan.example"});
        let made = root.post("/v1/admin/chains", &body).expect(201, "").await;
        let path = format!("/v1/admin/chains/{}", made["id"].as_str().unwrap());
        let kept = root.put(&path, &json!({})).expect(200, "").await;
        assert_eq!(kept["rpc_url"], "http://127.0.0.1:1");
        let cleared = root.put(&path, &json!({"rpc_url": null, "explorer_url": null, "display_name": null})).expect(200, "").await;
        assert_eq!((cleared.get("rpc_url"), cleared.get("explorer_url")), (None, None));
        assert_eq!((&cleared["ws_url"], &cleared["display_name"]), (&json!("ws://127.0.0.1:1"), &json!("X")));
        let set = root.put(&path, &json!({"display_name": "Y", "native_currency": "YYY", "is_testnet": true, "rpc_url": "http://127.0.0.1:2"}));
        let set = set.expect(200, "127.0.0.1:2").await;
        assert_eq!((&set["display_name"], &set["native_currency"], &set["is_testnet"]), (&json!("Y"), &json!("YYY"), &json!(true)));
        // A whole answer may be sent back; what goes by name and number can't be renamed.
        root.put(&path, &set).expect(200, "").await;
        root.put(&path, &json!({"name": "y"})).expect(400, "name: can't be changed").await;
        root.put(&path, &json!({"chain_id": 5})).expect(400, "chain_id: can't be changed").await;
        let seen = root.get("/v1/admin/chains").expect(200, "").await;
        assert!(seen["chains"].as_array().unwrap().iter().any(|c| c["name"] == "x" && c["display_name"] == "Y"));
    }
}

both! {
    async fn what_can_not_be_a_chain_is_refused_by_field(w: World) {
        let root = w.operator().await;
        let good = json!({"name": "x", "display_name": "X", "chain_id": 777_001});
        for (field, value) in [
            ("name", json!("Base")), ("name", json!("31337")), ("name", json!("a/b")), ("name", json!("")),
            ("display_name", json!(" ")), ("display_name", json!("a\nb")),
            ("chain_id", json!(0)), ("chain_id", json!(9_007_199_254_740_992_u64)), ("chain_id", json!(-1)), ("chain_id", json!("1")),
            ("rpc_url", json!("wss://a.example")), ("rpc_url", json!("file:///etc/passwd")), ("rpc_url", json!("")),
            ("rpc_url", json!(format!("https://a.example/{}", "x".repeat(2048)))),
            ("ws_url", json!("https://a.example")), ("explorer_url", json!("javascript:alert(1)")),
            ("explorer_url", json!("https://u:p@a.example")), ("native_currency", json!("")),
            ("native_currency", json!("A B")), ("is_enabled", json!("yes")),
        ] {
            let mut body = good.clone();
            body[field] = value;
            root.post("/v1/admin/chains", &body).expect(400, &format!("{field}: ")).await;
            if !["name", "chain_id"].contains(&field) {
                root.put("/v1/admin/chains/31337", &json!({field: body[field]})).expect(400, &format!("{field}: ")).await;
            }
        }
        for missing in ["name", "display_name", "chain_id"] {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(missing);
            root.post("/v1/admin/chains", &body).expect(400, missing).await;
        }
        root.post("/v1/admin/chains", &json!({"name": "base", "display_name": "X", "chain_id": 777_001})).expect(409, "this name").await;
        root.post("/v1/admin/chains", &json!({"name": "x", "display_name": "X", "chain_id": 8453})).expect(409, "this chain id").await;
        for nowhere in ["777001", "01890000-0000-7000-8000-000000000000", "18446744073709551615"] {
            root.put(&format!("/v1/admin/chains/{nowhere}"), &json!({})).expect(404, "No such chain").await;
        }
        root.put("/v1/admin/chains/base", &json!({})).expect(400, "chain_id: must be a chain's UUID").await;
    }
}

both! {
    async fn chains_that_were_deleted_do_not_come_back(w: World) {
        let root = w.operator().await;
        let list = root.get("/v1/admin/chains").expect(200, "ethereum").await;
        for chain in list["chains"].as_array().unwrap() {
            root.delete(&format!("/v1/admin/chains/{}", chain["id"].as_str().unwrap())).expect(204, "").await;
        }
        w.restart().await;
        assert_eq!(root.get("/v1/admin/chains").expect(200, "").await, json!({"chains": []}));
        assert_eq!(w.get("/v1/chains").expect(200, "").await, json!({"chains": []}));
    }
}

both! {
    async fn of_many_who_add_the_same_chain_one_does(w: World) {
        let root = w.operator().await;
        let body = json!({"name": "x", "display_name": "X", "chain_id": 777_001});
        let replies = futures::future::join_all((0..8).map(|_| root.post("/v1/admin/chains", &body).reply())).await;
        let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    }
}

both! {
    async fn settings_are_known_checked_set_and_put_back(w: World) {
        let root = w.operator().await;
        let me = root.id().await;
        let path = "/v1/admin/settings/intents_api.require_simulation";
        let find = |list: Value| {
            let all = list["settings"].as_array().unwrap().clone();
            all.into_iter().find(|s| s["key"] == "intents_api.require_simulation").unwrap()
        };
        let at_first = find(root.get("/v1/admin/settings").expect(200, "auth.open_signup").await);
        assert_eq!((&at_first["value"], &at_first["default"], at_first.get("updated_by")), (&json!("false"), &json!("false"), None));
        let set = root.put(path, &json!({"value": "true"})).expect(200, "require_simulation").await;
        assert_eq!((&set["value"], &set["updated_by"]), (&json!("true"), &json!(me)));
        assert!(set["updated_at"].is_string());
        assert_eq!(find(root.get("/v1/admin/settings").expect(200, "").await), set);
        for bad in [json!("yes"), json!(""), json!(true), json!(null)] {
            root.put(path, &json!({"value": bad})).expect(400, "value: ").await;
        }
        // Talon's own rows in the same table are nobody's to see or to set.
        for unknown in ["operators.org", "operators.invitation", "nonsense", "auth"] {
            root.put(&format!("/v1/admin/settings/{unknown}"), &json!({"value": "true"})).expect(404, "auth.open_signup, intents_api").await;
            root.delete(&format!("/v1/admin/settings/{unknown}")).expect(404, "There are: ").await;
        }
        assert!(!root.get("/v1/admin/settings").expect(200, "").await.to_string().contains("operators.org"));
        root.delete(path).expect(204, "").await;
        root.delete(path).expect(204, "").await;
        assert_eq!(find(root.get("/v1/admin/settings").expect(200, "").await), at_first);
        let events = trail(&w).await;
        assert!(events.contains(&("setting.update".to_owned(), r#"{"value":"true"}"#.to_owned())), "{events:?}");
        assert!(events.contains(&("setting.reset".to_owned(), r#"{"value":"false"}"#.to_owned())), "{events:?}");
        // A gateway that starts again has them still.
        root.put("/v1/admin/settings/auth.open_signup", &json!({"value": "false"})).expect(200, "").await;
        w.restart().await;
        let eve = json!({"email": "eve@example.org", "password": harness::PASSWORD});
        w.post("/v1/auth/signup", &eve).expect(403, "Nobody may sign up here").await;
    }
}

both! {
    with chain,
    async fn required_simulation_refuses_what_would_revert(w: World) {
        let (root, ada) = (w.operator().await, w.owner("ada").await);
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        // A contract that reverts whatever it is asked: PUSH0 PUSH0 REVERT.
        let bad = "0x00000000000000000000000000000000000bad00";
        w.anvil().await.ask("anvil_setCode", json!([bad, "0x5f5ffd"])).await;
        let body = json!({"chain": "local", "to": bad, "value": "0", "gas_limit": 100_000});
        let path = "/v1/admin/settings/intents_api.require_simulation";
        root.put(path, &json!({"value": "true"})).expect(200, "").await;
        let reply = bot.submit(&body).reply().await;
        assert_eq!((reply.status, &reply.body["status"]), (422, &json!("simulation_failed")), "{}", reply.text);
        assert!(reply.body.get("signed_tx").is_none() && reply.body.get("tx_hash").is_none(), "{}", reply.text);
        let explicit = bot.submit(&json!({"chain": "local", "to": bad, "value": "0", "gas_limit": 100_000, "simulate_first": false})).reply().await;
        assert_eq!(explicit.status, 422, "an agent can't wave it off: {}", explicit.text);
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 0);
        bot.send(ADDRESSES[1], "1").expect(201, "signed_tx").await;
        // The same request under the same key is the same, whatever the setting is by then.
        let keyed = || bot.send(ADDRESSES[1], "1").header("idempotency-key", "one");
        let first = keyed().expect(201, "").await;
        root.delete(path).expect(204, "").await;
        assert_eq!(keyed().expect(200, "").await["id"], first["id"]);
        let sent = bot.submit(&body).expect(201, "signed_tx").await;
        bot.until(sent["id"].as_str().unwrap(), "reverted").await;
        // Damaged, it is neither on nor off.
        w.sql("INSERT INTO settings (key, value, updated_by, updated_at) VALUES ('intents_api.require_simulation', 'perhaps', NULL, 0)").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        bot.send(ADDRESSES[1], "1").expect(500, "Something went wrong").await;
    }
}

both! {
    async fn who_makes_the_first_account_operates_and_who_comes_after_does_not(w: World) {
        let database = w.database;
        drop(w);
        let w = World::on(database).without_operator().start().await;
        // Before there are operators, nobody is one.
        let eve = w.owner("eve").await;
        w.sql("INSERT INTO settings (key, value, updated_by, updated_at) VALUES ('auth.open_signup', 'false', NULL, 0)").await;
        eve.get("/v1/admin/settings").expect(403, "people who operate").await;
        let said = w.said();
        let (_, rest) = said.split_once("/setup#").unwrap();
        let body = json!({"token": rest.split_whitespace().next().unwrap(), "email": "root@example.org", "password": harness::PASSWORD});
        let answer = w.post("/v1/setup", &body).expect(200, "access_token").await;
        let token = answer["access_token"].as_str().unwrap();
        w.call(Method::GET, "/v1/admin/settings", Some(token)).expect(200, "settings").await;
        eve.get("/v1/admin/settings").expect(403, "people who operate").await;
    }
}
