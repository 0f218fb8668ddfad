//! The settings. Their names are those that 1claw's clients have.

use clap::Args;

use crate::BridgeError;
use crate::credential::Credential;

#[derive(Args)]
pub struct Options {
    /// The gateway's address.
    #[arg(long, env = "ONECLAW_BASE_URL", value_name = "URL", default_value = "http://127.0.0.1:8443")]
    pub base_url: String,
    /// The default vault; an agent that can use only one needs none.
    #[arg(long, env = "ONECLAW_VAULT_ID", value_name = "UUID")]
    pub vault_id: Option<String>,
    /// The agent; its key is in ONECLAW_AGENT_API_KEY, or a token in ONECLAW_AGENT_TOKEN.
    #[arg(long, env = "ONECLAW_AGENT_ID", value_name = "UUID")]
    pub agent_id: Option<String>,
}

impl Options {
    /// Where MCP and tokens are asked for.
    ///
    /// # Errors
    /// If it is no http(s) address, or would carry the credential in the clear to another machine.
    pub fn base_url(&self) -> Result<reqwest::Url, BridgeError> {
        let wrong = |rule: &str| BridgeError::Settings(format!("ONECLAW_BASE_URL must be {rule}"));
        let mut url: reqwest::Url = self
            .base_url
            .trim()
            .parse()
            .map_err(|_| wrong("an address such as https://vault.example.org"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("without a user or password; the credential has a variable of its own"));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let loopback = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => {
                return Err(wrong("https://… for another machine: the key must not travel in the clear"));
            }
            _ => return Err(wrong("http://… or https://…")),
        }
        // Else the last segment of a path would be replaced, not added to.
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url)
    }

    /// The credential, out of the environment: on a command line, everybody on the machine could read it.
    ///
    /// # Errors
    /// If there is none.
    pub fn credential(&self) -> Result<Credential, BridgeError> {
        let set = |name: &str| {
            let found = std::env::vars_os().find(|(key, _)| key == name)?.1.into_string().ok()?;
            Some(found.trim().to_owned()).filter(|text| !text.is_empty())
        };
        if let Some(key) = set("ONECLAW_AGENT_API_KEY") {
            return Ok(Credential::key(self.agent_id.clone(), key));
        }
        set("ONECLAW_AGENT_TOKEN").map(Credential::token).ok_or_else(|| {
            BridgeError::Settings(
                "set ONECLAW_AGENT_ID and ONECLAW_AGENT_API_KEY (or ONECLAW_AGENT_TOKEN): a person registers an agent and \
                 gets its key"
                    .to_owned(),
            )
        })
    }
}
