//! `talon admin settings`

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::table::table;
use super::{Failure, Shown};

#[derive(Subcommand)]
pub enum Command {
    /// Show all, with what each takes and does
    List,
    /// Set one; every gateway follows within a second
    Set { key: String, value: String },
    /// Put one back to its default
    Unset { key: String },
}

pub async fn run(client: &Client, command: &Command) -> Result<Shown, Failure> {
    match command {
        Command::List => {
            let json = client.ask(Method::GET, &["settings"], None).await?;
            let all = json["settings"].as_array().cloned().unwrap_or_default();
            Ok(Shown { text: rows(&all), json })
        }
        Command::Set { key, value } => {
            let body = json!({ "value": value });
            let json = client.ask(Method::PUT, &["settings", key], Some(&body)).await?;
            Ok(Shown { text: rows(std::slice::from_ref(&json)), json })
        }
        Command::Unset { key } => {
            let json = client.ask(Method::DELETE, &["settings", key], None).await?;
            Ok(Shown { json, text: format!("{key} is at its default.\n") })
        }
    }
}

fn rows(settings: &[Value]) -> String {
    let text = |setting: &Value, field: &str| setting[field].as_str().unwrap_or_default().to_owned();
    let row = |setting: &Value| {
        let since = setting["updated_at"].as_str().unwrap_or("default").to_owned();
        let [key, value, takes, what] =
            ["key", "value", "takes", "description"].map(|field| text(setting, field));
        [key, value, takes, since, what]
    };
    table(["KEY", "VALUE", "TAKES", "SET", "WHAT"], &settings.iter().map(row).collect::<Vec<_>>())
}
