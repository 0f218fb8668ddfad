//! MCP: the door, the tools, what they refuse and how.

use harness::{ADDRESSES, Value, World, both, json};
use reqwest::Method;

/// What a client must say that it takes.
const BOTH_KINDS: &str = "application/json, text/event-stream";

both! {
    async fn only_agents_come_in(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let call = |token: Option<&str>| w.call(Method::POST, "/mcp", token).header("accept", BOTH_KINDS).json(&message);
        for token in [None, Some("x.y.z"), Some("ocv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")] {
            let reply = call(token).reply().await;
            let challenge = reply.headers["www-authenticate"].clone();
            let metadata = challenge.split('"').nth(1).unwrap().to_owned();
            assert_eq!(challenge, format!("Bearer resource_metadata=\"{metadata}\""));
            reply.expect(401, "");
            let metadata = w.get(metadata.strip_prefix(&w.base).unwrap()).expect(200, "resource").await;
            assert_eq!(metadata["resource"], format!("{}/mcp", w.base));
            assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
        }
        call(Some(&ada.token)).expect(403, "for agents").await;
        // A token and the key itself are as good.
        call(Some(&bot.token)).expect(200, "list_secrets").await;
        call(Some(&bot.key)).expect(200, "list_secrets").await;
        ada.delete(&format!("/v1/agents/{}", bot.id)).expect(204, "").await;
        call(Some(&bot.token)).expect(401, "").await;
    }
}

both! {
    async fn other_hosts_and_origins_are_refused(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let list = || bot.mcp("tools/list", &json!({}));
        let port = w.address().port();
        for host in ["evil.example.org", "localhost.evil.example.org", &format!("evil.example.org:{port}"), "10.0.0.1"] {
            list().header("host", host).expect(403, "TALON_PUBLIC_URL").await;
        }
        for origin in ["https://evil.example.org", "null", "http://127.0.0.1.evil.example.org", "file://"] {
            list().header("origin", origin).expect(403, "TALON_PUBLIC_URL").await;
        }
        for host in ["localhost", &format!("127.0.0.1:{port}"), "[::1]:8443"] {
            list().header("host", host).expect(200, "tools").await;
        }
        list().header("origin", &w.base).expect(200, "tools").await;
        list().header("origin", "http://localhost:6274").expect(200, "tools").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_address_is_taken_and_no_other_of_its_kind() {
    let public = "https://vault.example.org";
    let w = World::on(harness::Database::Sqlite).with("TALON_PUBLIC_URL", public).start().await;
    let ada = w.owner("ada").await;
    let bot = ada.agent("bot").make().await;
    let list = || bot.mcp("tools/list", &json!({}));
    list().header("host", "vault.example.org").expect(200, "tools").await;
    list().header("host", "vault.example.org").header("origin", public).expect(200, "tools").await;
    for origin in ["http://vault.example.org", "https://vault.example.org:8443", "https://example.org"] {
        list().header("host", "vault.example.org").header("origin", origin).expect(403, "Origin").await;
    }
    let reply = w.post("/mcp", &json!({})).reply().await;
    assert!(
        reply.headers["www-authenticate"].contains("https://vault.example.org/.well-known/"),
        "{}",
        reply.text
    );
}

both! {
    async fn no_session_is_kept_and_only_post_is_taken(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        for version in ["2025-11-25", "2025-06-18", "2025-03-26"] {
            let hello = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
            let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello});
            let reply = bot.call(Method::POST, "/mcp").header("accept", BOTH_KINDS).json(&message).reply().await;
            assert!(!reply.headers.contains_key("mcp-session-id"));
            assert_eq!(reply.headers["content-type"], "application/json");
            let body = reply.expect(200, "instructions");
            assert_eq!(body["result"]["protocolVersion"], version);
        }
        for method in [Method::GET, Method::DELETE] {
            let reply = bot.call(method, "/mcp").reply().await;
            assert_eq!(reply.headers["allow"], "POST");
            reply.expect(405, "POST alone");
        }
        let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let reply = bot.call(Method::POST, "/mcp").header("accept", BOTH_KINDS).json(&note).reply().await;
        assert_eq!((reply.status, reply.text.as_str()), (202, ""));
        let post = || bot.call(Method::POST, "/mcp").header("accept", BOTH_KINDS);
        post().header("content-type", "text/plain").body("hunter2").expect(415, "Content-Type").await;
        bot.call(Method::POST, "/mcp").json(&note).expect(400, "Accept").await;
        // What can't be read is not repeated.
        for body in ["hunter2", "[\"hunter2\"]"] {
            let said = post().header("content-type", "application/json").body(body).reply().await;
            assert!(!said.text.contains("hunter2"), "{}", said.text);
            said.expect(400, "JSON-RPC message");
        }
        bot.tool("get_secret", &json!("hunter2")).await.refused("arguments: must be an object");
        bot.mcp("tools/none", &json!({})).expect(200, "-32601").await;
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        post().header("mcp-protocol-version", "1999-01-01").json(&message).expect(400, "version of MCP").await;
        let large = "x".repeat(1600 * 1024);
        bot.mcp("tools/call", &json!({"name": "put_secret", "arguments": {"path": "a", "value": large}})).expect(413, "1 MiB").await;
    }
}

/// As 2026-07-28 has it: no handshake, each request says for itself who speaks which version.
fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

both! {
    async fn the_newest_protocol_needs_no_handshake(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "note", "the value").await;
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        let ask = |method: &str, name: Option<&str>, params: Value| {
            let mut call = bot.call(Method::POST, "/mcp").header("accept", BOTH_KINDS)
                .header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
            if let Some(name) = name { call = call.header("mcp-name", name); }
            call.json(&modern(method, params))
        };
        let found = ask("server/discover", None, json!({})).expect(200, "supportedVersions").await;
        for version in ["2026-07-28", "2025-11-25"] {
            assert!(found["result"]["supportedVersions"].as_array().unwrap().contains(&json!(version)), "{found}");
        }
        ask("tools/list", None, json!({})).expect(200, "get_secret").await;
        let read = ask("tools/call", Some("get_secret"), json!({"name": "get_secret", "arguments": {"path": "a"}})).expect(200, "the value").await;
        assert_eq!(read["result"]["resultType"], "complete");
        // A header that says something else than the body is refused.
        let other = ask("tools/call", Some("list_secrets"), json!({"name": "get_secret", "arguments": {"path": "a"}})).reply().await;
        assert_eq!((other.status, other.body["error"]["code"].is_i64()), (400, true), "{}", other.text);
    }
}

both! {
    async fn the_default_vault_is_named_or_the_only_one(w: World) {
        let ada = w.owner("ada").await;
        let (one, two, closed) = (ada.vault("one").await, ada.vault("two").await, ada.vault("closed").await);
        one.put("a", "note", "from one").await;
        two.put("a", "note", "from two").await;
        let nobody = ada.agent("nobody").make().await;
        nobody.tool("list_secrets", &json!({})).await.refused("no vault yet");
        // The vault of its identity pair is never meant, and there if it is named.
        let own = nobody.tool("list_vaults", &json!({})).await.expect("__agent-keys");
        let own = own["vaults"][0]["id"].as_str().unwrap().to_owned();
        nobody.tool_in(Some(&own), "list_secrets", &json!({})).await.expect("ssh/private_key");
        let bot = ada.agent("bot").reads(&one, "**").make().await;
        bot.tool("get_secret", &json!({"path": "a"})).await.expect("from one");
        two.allow(&bot.id, "**", &["read"]).await;
        let choices = bot.tool("get_secret", &json!({"path": "a"})).await.refused("X-Vault-ID");
        assert!(choices.contains(&one.id) && choices.contains(&two.id) && !choices.contains(&closed.id), "{choices}");
        bot.tool_in(Some(&two.id), "get_secret", &json!({"path": "a"})).await.expect("from two");
        bot.tool_in(Some(&closed.id), "get_secret", &json!({"path": "a"})).await.refused("No read permission");
        bot.tool_in(Some("two"), "get_secret", &json!({"path": "a"})).await.refused("X-Vault-ID: must be a vault's UUID");
        let eve = w.owner("eve").await;
        let hers = eve.vault("hers").await;
        bot.tool_in(Some(&hers.id), "list_secrets", &json!({})).await.refused("No such vault");
    }
}

both! {
    async fn arguments_are_checked_and_errors_say_what_to_do(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "note", "hunter2").await;
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        bot.tool("get_secret", &json!({})).await.refused("path: is missing");
        bot.tool("get_secret", &json!({"path": 7})).await.refused("path: must be a string");
        bot.tool("get_secret", &json!({"path": "a//b"})).await.refused("segment");
        bot.tool("get_secret", &json!({"path": "a", "vault_id": vault.id})).await.refused("vault_id is no argument of get_secret; it takes: path.");
        bot.tool("get_secret", &json!({"path": "none"})).await.refused("No such secret");
        bot.tool("put_secret", &json!({"path": "a", "value": "v"})).await.refused("No write permission on this path. Ask an owner or admin");
        bot.tool("list_transactions", &json!({"limit": 0})).await.refused("limit: must be 1 to 1000");
        bot.tool("list_secrets", &json!({"prefix": ["a"]})).await.refused("prefix");
        bot.tool("no_such", &json!({})).await.refused("list_secrets");
        // What a model leaves out, many write as null.
        bot.tool("list_secrets", &json!({"prefix": null})).await.expect("\"a\"");
        let listed = bot.tool("list_secrets", &json!({})).await.expect("\"a\"");
        assert!(!listed.to_string().contains("hunter2"));
        ada.delete(&vault.path("a")).expect(204, "").await;
        bot.tool("get_secret", &json!({"path": "a"})).await.refused("deleted");
        bot.tool("describe_secret", &json!({"path": "a"})).await.refused("deleted");
    }
}

both! {
    async fn what_an_agent_may_not_use_it_is_not_shown(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let plain = ada.agent("plain").make().await;
        let sends = ada.agent("sends").intents().make().await;
        let bound = ada.agent("bound").set("vault_ids", json!([vault.id])).make().await;
        let (plain_sees, sends_sees, bound_sees) = (plain.tools().await, sends.tools().await, bound.tools().await);
        let has = |tools: &[String], name: &str| tools.iter().any(|tool| tool == name);
        for name in ["submit_transaction", "get_transaction", "list_transactions"] {
            assert!(!has(&plain_sees, name) && has(&sends_sees, name), "{name}");
        }
        assert!(has(&plain_sees, "grant_access") && !has(&sends_sees, "grant_access"));
        assert!(has(&plain_sees, "create_vault") && !has(&bound_sees, "create_vault"));
        // Hidden is no rule: the operation itself refuses.
        let transfer = json!({"chain": "base", "to": ADDRESSES[1], "value": "1"});
        plain.tool("submit_transaction", &transfer).await.refused("intents_api_enabled");
        bound.tool("create_vault", &json!({"name": "x"})).await.refused("bound to certain vaults");
    }
}

both! {
    async fn the_resource_is_the_listing(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "note", "hunter2").await;
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        bot.mcp("resources/list", &json!({})).expect(200, "vault://secrets").await;
        let read = bot.mcp("resources/read", &json!({"uri": "vault://secrets"})).expect(200, "contents").await;
        let contents = &read["result"]["contents"][0];
        assert_eq!(contents["mimeType"], "application/json");
        let listing: Value = serde_json::from_str(contents["text"].as_str().unwrap()).unwrap();
        assert_eq!(listing, bot.tool("list_secrets", &json!({})).await.expect("\"a\""));
        bot.mcp("resources/read", &json!({"uri": "vault://a"})).expect(200, "vault://secrets is the only one").await;
        let nobody = ada.agent("nobody").make().await;
        nobody.mcp("resources/read", &json!({"uri": "vault://secrets"})).expect(200, "no vault yet").await;
    }
}

both! {
    async fn env_bundles_rotation_and_metadata(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let bundle = json!({"type": "env_bundle", "value": "# production\n\nURL=https://x/?a=b\nEMPTY=\n", "max_access_count": 2});
        ada.put(&vault.path("env/prod"), &bundle).expect(201, "").await;
        vault.put("env/broken", "env_bundle", "URL=x\nhunter2").await;
        let key = json!({"type": "note", "value": "old", "metadata": {"owner": "team"}});
        ada.put(&vault.path("api/key"), &key).expect(201, "").await;
        let bot = ada.agent("bot").make().await;
        vault.allow(&bot.id, "**", &["read", "write"]).await;
        let read = bot.tool("get_env_bundle", &json!({"path": "env/prod"})).await.expect("URL");
        assert_eq!(read, json!({"URL": "https://x/?a=b", "EMPTY": ""}));
        // Neither a look at the metadata nor a bundle that can't be taken apart counts as a read.
        bot.tool("describe_secret", &json!({"path": "env/prod"})).await.expect("env_bundle");
        bot.tool("get_env_bundle", &json!({"path": "env/prod"})).await.expect("URL");
        bot.tool("get_env_bundle", &json!({"path": "env/prod"})).await.refused("used up");
        bot.tool("get_env_bundle", &json!({"path": "api/key"})).await.refused("of type note");
        let broken = bot.tool("get_env_bundle", &json!({"path": "env/broken"})).await.refused("Line 2");
        assert!(!broken.contains("hunter2"), "{broken}");

        let rotated = bot.tool("rotate_and_store", &json!({"path": "api/key", "value": "new"})).await.expect("team");
        assert_eq!((&rotated["version"], &rotated["type"]), (&json!(2), &json!("note")));
        bot.tool("get_secret", &json!({"path": "api/key"})).await.expect("new");
        bot.tool("rotate_and_store", &json!({"path": "api/none", "value": "new"})).await.refused("No such secret");
        ada.delete(&vault.path("api/key")).expect(204, "").await;
        bot.tool("rotate_and_store", &json!({"path": "api/key", "value": "new"})).await.refused("deleted");
        let spy = ada.agent("spy").reads(&vault, "**").make().await;
        spy.tool("rotate_and_store", &json!({"path": "api/key", "value": "new"})).await.refused("No write permission");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_is_in_a_log_however_much_is_logged() {
    let w = World::on(harness::Database::Sqlite)
        .with("TALON_LOG", "rmcp=trace,rmcp::service=trace,trace")
        .start()
        .await;
    let ada = w.owner("ada").await;
    let vault = ada.vault("main").await;
    let bot = ada.agent("bot").make().await;
    vault.allow(&bot.id, "**", &["read", "write"]).await;
    bot.tool("put_secret", &json!({"path": "a", "value": "hunter2"})).await.expect("api_key");
    bot.tool("get_secret", &json!({"path": "a"})).await.expect("hunter2");
    let said = w.said();
    assert!(said.contains("getSecret") && said.contains("TRACE"), "nothing was logged");
    let line = said.lines().find(|line| line.contains("hunter2"));
    assert!(line.is_none(), "{line:?}");
}

both! {
    async fn reads_over_mcp_are_audited_and_counted(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        ada.put(&vault.path("once"), &json!({"value": "v", "max_access_count": 1})).expect(201, "").await;
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        bot.tool("get_secret", &json!({"path": "once"})).await.expect("\"v\"");
        bot.tool("get_secret", &json!({"path": "once"})).await.refused("used up");
        let pool = w.database().await;
        let (reads,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM audit_events WHERE action = 'secret.read' AND actor_id = $1")
            .bind(&bot.id).fetch_one(&pool).await.unwrap();
        assert_eq!(reads, 1);
    }
}

both! {
    with chain,
    async fn transactions_are_sent_once_and_followed(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "2").set("tx_max_value_eth", "1")
            .reads(&vault, "keys/**").make().await;
        bot.tool("get_secret", &json!({"path": "keys/local-signer"})).await.refused("signing_key_path");
        let transfer = json!({"chain": "local", "to": ADDRESSES[1], "value": "0.5", "idempotency_key": "rent"});
        let sent = bot.tool("submit_transaction", &transfer).await.expect("tx_hash");
        let again = bot.tool("submit_transaction", &transfer).await.expect("tx_hash");
        assert_eq!(sent["id"], again["id"]);
        let id = sent["id"].as_str().unwrap();
        bot.until(id, "confirmed").await;
        let done = bot.tool("get_transaction", &json!({"tx_id": id})).await.expect("confirmed");
        let receipt = w.anvil().await.receipt(done["tx_hash"].as_str().unwrap()).await;
        assert_eq!(receipt["status"], "0x1");
        let me = bot.tool("whoami", &json!({})).await.expect("tx_daily_remaining_eth");
        assert_eq!((&me["id"], &me["tx_daily_remaining_eth"], &me["tx_max_value_eth"]), (&json!(bot.id), &json!("1.5"), &json!("1")));
        bot.tool("submit_transaction", &json!({"chain": "local", "to": ADDRESSES[1], "value": "1.5"})).await.refused("tx_max_value_eth");

        // Without a key one is made, and told: with it, a repetition is one.
        let transfer = json!({"chain": "local", "to": ADDRESSES[1], "value": "0.25"});
        let sent = bot.tool("submit_transaction", &transfer).await;
        let told = sent.result["content"][1]["text"].as_str().unwrap().to_owned();
        let key = told.split_whitespace().find(|word| word.len() > 30).unwrap().trim_end_matches(';');
        let sent = sent.expect("tx_hash");
        let mut repeated = transfer.clone();
        repeated["idempotency_key"] = key.into();
        assert_eq!(bot.tool("submit_transaction", &repeated).await.expect("tx_hash")["id"], sent["id"]);
        // A key for all calls of a client would make one of two.
        let call = json!({"name": "submit_transaction", "arguments": transfer});
        let other = bot.mcp("tools/call", &call).header("idempotency-key", key).expect(200, "tx_hash").await;
        assert_ne!(other["result"]["structuredContent"]["id"], sent["id"]);
        let list = bot.tool("list_transactions", &json!({"limit": 2})).await.expect("tx_hash");
        assert_eq!(list["transactions"].as_array().unwrap().len(), 2);

        // A reverting call is tried first, and never signed.
        let code = json!([ADDRESSES[2], "0x60006000fd"]);
        w.anvil().await.ask("anvil_setCode", code).await;
        let reverts = bot.tool("submit_transaction", &json!({"chain": "local", "to": ADDRESSES[2], "value": "0.1"})).await;
        assert_eq!(reverts.result["structuredContent"]["status"], "simulation_failed", "{}", reverts.result);
        reverts.refused("Nothing was signed");
    }
}
