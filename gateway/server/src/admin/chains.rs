//! `talon admin chains`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::table::table;
use super::{Failure, Shown, secret_file};

#[derive(Subcommand)]
pub enum Command {
    /// Show all, enabled or not
    List,
    /// Add one
    Add(Add),
    /// Change one; what is not given stays
    Set(Set),
    /// Take one out, once no transaction on it is open
    Remove {
        /// Its name, its chain id or its UUID
        chain: String,
    },
}

#[derive(Args)]
pub struct Add {
    /// Lower-case letters, digits and hyphens, such as base-sepolia; it can't be changed later
    name: String,
    /// EIP-155; it can't be changed later
    #[arg(long, value_name = "NUMBER")]
    chain_id: u64,
    /// For people [default: the name]
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    #[command(flatten)]
    node: NodeUrl,
    /// The node's WebSocket address
    #[arg(long, value_name = "URL")]
    ws_url: Option<String>,
    #[arg(long, value_name = "URL")]
    explorer_url: Option<String>,
    /// The currency's symbol [default: ETH]
    #[arg(long, value_name = "SYMBOL")]
    currency: Option<String>,
    #[arg(long)]
    testnet: bool,
    /// Take no transactions yet
    #[arg(long)]
    disabled: bool,
    /// Show the node's addresses to anyone
    #[arg(long)]
    urls_public: bool,
}

#[derive(Args)]
pub struct Set {
    /// Its name, its chain id or its UUID
    chain: String,
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    #[command(flatten)]
    node: NodeUrl,
    /// Forget the node's address
    #[arg(long, conflicts_with_all = ["rpc_url", "rpc_url_file"])]
    no_rpc_url: bool,
    /// The node's WebSocket address
    #[arg(long, value_name = "URL")]
    ws_url: Option<String>,
    #[arg(long, conflicts_with = "ws_url")]
    no_ws_url: bool,
    #[arg(long, value_name = "URL")]
    explorer_url: Option<String>,
    #[arg(long, conflicts_with = "explorer_url")]
    no_explorer_url: bool,
    /// The currency's symbol
    #[arg(long, value_name = "SYMBOL")]
    currency: Option<String>,
    #[arg(long, value_name = "true or false")]
    testnet: Option<bool>,
    /// Whether it takes transactions; those under way go on
    #[arg(long, value_name = "true or false")]
    enabled: Option<bool>,
    /// Whether the node's addresses are shown to anyone
    #[arg(long, value_name = "true or false")]
    urls_public: Option<bool>,
}

#[derive(Args)]
struct NodeUrl {
    /// The node's address; the list of processes shows it
    #[arg(long, value_name = "URL", conflicts_with = "rpc_url_file")]
    rpc_url: Option<String>,
    /// A file with the node's address, where it holds a key; - is standard input
    #[arg(long, value_name = "FILE")]
    rpc_url_file: Option<PathBuf>,
}

impl NodeUrl {
    fn read(&self) -> Result<Option<Value>, Failure> {
        match &self.rpc_url_file {
            Some(file) => Ok(Some(secret_file("the address file", file)?.expose().into())),
            None => Ok(self.rpc_url.as_deref().map(Value::from)),
        }
    }
}

impl Add {
    fn body(&self) -> Result<Value, Failure> {
        Ok(json!({
            "name": self.name,
            "display_name": self.display_name.as_ref().unwrap_or(&self.name),
            "chain_id": self.chain_id,
            "rpc_url": self.node.read()?,
            "ws_url": self.ws_url,
            "explorer_url": self.explorer_url,
            "native_currency": self.currency,
            "is_testnet": self.testnet,
            "is_enabled": !self.disabled,
            "urls_public": self.urls_public,
        }))
    }
}

impl Set {
    /// Only what was given; null clears.
    fn body(&self) -> Result<Value, Failure> {
        let text = |given: &Option<String>| given.as_deref().map(Value::from);
        let or_null = |given: Option<Value>, clear: bool| if clear { Some(Value::Null) } else { given };
        let fields = [
            ("display_name", text(&self.display_name)),
            ("rpc_url", or_null(self.node.read()?, self.no_rpc_url)),
            ("ws_url", or_null(text(&self.ws_url), self.no_ws_url)),
            ("explorer_url", or_null(text(&self.explorer_url), self.no_explorer_url)),
            ("native_currency", text(&self.currency)),
            ("is_testnet", self.testnet.map(Value::from)),
            ("is_enabled", self.enabled.map(Value::from)),
            ("urls_public", self.urls_public.map(Value::from)),
        ];
        let given = fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?)));
        let body: Map<String, Value> = given.collect();
        if body.is_empty() {
            return Err(Failure::Usage(
                "nothing was given to change; see talon admin chains set --help".into(),
            ));
        }
        Ok(body.into())
    }
}

pub async fn run(client: &Client, command: &Command) -> Result<Shown, Failure> {
    match command {
        Command::List => {
            let json = list(client).await?;
            let all = json["chains"].as_array().cloned().unwrap_or_default();
            Ok(Shown { text: rows(&all), json })
        }
        Command::Add(add) => {
            let json = client.ask(Method::POST, &["chains"], Some(&add.body()?)).await?;
            Ok(Shown { text: rows(std::slice::from_ref(&json)), json })
        }
        Command::Set(set) => {
            let body = set.body()?;
            let id = find(client, &set.chain).await?;
            let json = client.ask(Method::PUT, &["chains", &id], Some(&body)).await?;
            Ok(Shown { text: rows(std::slice::from_ref(&json)), json })
        }
        Command::Remove { chain } => {
            let id = find(client, chain).await?;
            let json = client.ask(Method::DELETE, &["chains", &id], None).await?;
            Ok(Shown { json, text: format!("{chain} is removed.\n") })
        }
    }
}

async fn list(client: &Client) -> Result<Value, Failure> {
    client.ask(Method::GET, &["chains"], None).await
}

/// What a chain's path takes is its id; people know its name.
async fn find(client: &Client, named: &str) -> Result<String, Failure> {
    let json = list(client).await?;
    let all = json["chains"].as_array().cloned().unwrap_or_default();
    let number = named.parse::<u64>().ok();
    let is_it = |chain: &&Value| {
        chain["name"] == named
            || chain["id"] == named
            || (number.is_some() && chain["chain_id"].as_u64() == number)
    };
    let id = all.iter().find(is_it).and_then(|chain| chain["id"].as_str());
    let missing =
        || Failure::Refused(format!("no chain is called {named}; talon admin chains list shows them"));
    id.map(str::to_owned).ok_or_else(missing)
}

fn rows(chains: &[Value]) -> String {
    let row = |chain: &Value| {
        let text = |field: &str| chain[field].as_str().unwrap_or_default().to_owned();
        let is = |field: &str| if chain[field] == true { "yes" } else { "no" }.to_owned();
        let node = match chain["rpc_url"].as_str() {
            _ if chain["rpc_from_configuration"] == true => "(from the configuration)".to_owned(),
            Some(url) => url.to_owned(),
            None => "-".to_owned(),
        };
        let id = chain["chain_id"].to_string();
        [
            text("name"),
            id,
            text("native_currency"),
            is("is_testnet"),
            is("is_enabled"),
            is("urls_public"),
            node,
        ]
    };
    let heads = ["NAME", "CHAIN ID", "CURRENCY", "TESTNET", "ENABLED", "PUBLIC", "NODE"];
    table(heads, &chains.iter().map(row).collect::<Vec<_>>())
}
