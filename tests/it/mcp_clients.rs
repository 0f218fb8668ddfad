//! Clients that others wrote, over both transports: `mcp` from PyPI and `@modelcontextprotocol/sdk` from npm.

use std::process::Command;

use harness::{ADDRESSES, Agent, Database, Value, World, json};

/// A client's run, as its script prints it.
struct Client {
    command: Command,
    about: String,
}

impl Client {
    fn python(way: &str, mode: &str) -> Self {
        let mut command = Command::new(harness::python("mcp"));
        command.arg(harness::client_script("mcp_client.py")).args([way, mode]);
        Self { command, about: format!("mcp (Python), {way}, {mode}") }
    }

    fn typescript(way: &str) -> Self {
        let mut command = Command::new("node");
        command.arg(harness::client_script("mcp_client.cjs")).arg(way);
        command.env("TALON_TEST_NODE_MODULES", harness::node_modules("@modelcontextprotocol/sdk"));
        Self { command, about: format!("@modelcontextprotocol/sdk, {way}") }
    }

    fn over_http(mut self, agent: &Agent<'_>) -> Self {
        self.command.env("TALON_URL", &agent.world.base).env("TALON_TOKEN", &agent.token);
        self
    }

    fn over_stdio(mut self, agent: &Agent<'_>, bridge: &[&str]) -> Self {
        let bridge: Vec<String> = bridge.iter().map(|part| (*part).to_owned()).collect();
        let command = [vec![harness::built(&bridge[0]).display().to_string()], bridge[1..].to_vec()].concat();
        self.about.push_str(&format!(", {}", bridge.join(" ")));
        self.command
            .env("TALON_MCP", json!(command).to_string())
            .env("ONECLAW_BASE_URL", &agent.world.base)
            .env("ONECLAW_AGENT_ID", &agent.id)
            .env("ONECLAW_AGENT_API_KEY", &agent.key);
        self
    }

    async fn run(mut self) -> (Value, String) {
        self.command.env("TALON_TO", ADDRESSES[1]);
        let about = self.about;
        let output = tokio::task::spawn_blocking(move || self.command.output().unwrap()).await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{about}: {errors}");
        let seen = serde_json::from_slice(&output.stdout);
        (seen.unwrap_or_else(|e| panic!("{about}: {e}: {output:?}")), format!("{about}: {errors}"))
    }
}

/// Lists, reads, is refused, sends and follows, in each world that a client can see.
async fn story(database: Database) {
    let w = World::on(database).chain().start().await;
    let ada = w.owner("ada").await;
    let vault = ada.vault("main").await;
    vault.put("api/stripe", "api_key", "sk_test_42").await;
    vault.put_key("keys/local-signer", 0).await;
    let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
    let clients = [
        (Client::python("http", "auto").over_http(&bot), Some("2026-07-28")),
        (Client::python("http", "legacy").over_http(&bot), Some("2025-11-25")),
        (Client::python("stdio", "auto").over_stdio(&bot, &["talon-mcp"]), Some("2026-07-28")),
        (Client::python("stdio", "legacy").over_stdio(&bot, &["talon", "mcp"]), Some("2025-11-25")),
        (Client::typescript("http").over_http(&bot), None),
        (Client::typescript("stdio").over_stdio(&bot, &["talon-mcp"]), None),
    ];
    for (client, protocol) in clients {
        let (seen, about) = client.run().await;
        if let Some(protocol) = protocol {
            assert_eq!(seen["protocol"], protocol, "{about}");
        }
        let tools = seen["tools"].as_array().unwrap();
        assert!(
            tools.contains(&json!("submit_transaction")) && !tools.contains(&json!("grant_access")),
            "{about}"
        );
        assert_eq!(seen["value"], "sk_test_42", "{about}");
        assert_eq!(seen["resource"]["secrets"][0]["path"], "api/stripe", "{about}");
        assert!(seen["refused"].as_str().unwrap().contains("submit a transaction"), "{about}");
        assert_eq!(seen["status"], "confirmed", "{about}");
        let receipt = w.anvil().await.receipt(seen["tx_hash"].as_str().unwrap()).await;
        assert_eq!(receipt["status"], "0x1", "{about}");
        assert!(!about.contains("sk_test_42") && !about.contains(&bot.key), "a value in a log: {about}");
    }
    assert!(!w.said().contains("sk_test_42"), "a value in the gateway's log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    story(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    story(Database::Postgres).await;
}
