//! What is in force: the settings, parsed and checked together.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::Google;
use api::LimitSettings;
use chains::simulate::TenderlySettings;
use domain::limit::Rate;
use domain::{SecretText, Wei};
use http::HeaderName;
use ipnet::IpNet;
use signer_protocol::HostPort;
use signer_protocol::tls::Files;

use crate::StartError;
use crate::settings::{Flags, Given, SETTINGS, variable};

pub struct Config {
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub database_url: Option<SecretText>,
    /// Without a slash at its end.
    pub public_url: String,
    pub signer: SignerAt,
    pub operator: Option<(String, SecretText)>,
    pub trusted_proxies: Vec<IpNet>,
    /// The mail server. `None`: mail goes to the data folder's `outbox/`.
    pub smtp: Option<SecretText>,
    /// Whom mail is from.
    pub mail_from: String,
    pub client_cert_header: Option<HeaderName>,
    pub egress_allow: Vec<IpNet>,
    pub google: Option<Google>,
    /// `None`: chains' own nodes simulate.
    pub tenderly: Option<TenderlySettings>,
    pub limits: LimitSettings,
    /// How long a request for an approval waits.
    pub approval_wait: Duration,
    pub checkpoint_interval: Duration,
    pub secret_retention: Duration,
    /// Certificate and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    pub log: String,
    /// Addresses of nodes by chain name.
    pub rpc: BTreeMap<String, SecretText>,
    given: Given,
}

/// Where the signer is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SignerAt {
    /// A child process.
    Spawn,
    Unix(PathBuf),
    /// On another host, with the files of mutual TLS.
    Tls(HostPort, Files),
}

impl std::fmt::Display for SignerAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spawn => f.write_str("spawn"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tls(at, _) => write!(f, "tls:{at}"),
        }
    }
}

/// Whom mail in the outbox is from, where nothing else is said.
const NOBODY: &str = "Talon <talon@localhost>";

/// A variable for a child's environment.
pub type Variable = (String, SecretText);

fn wrong(text: impl Into<String>) -> StartError {
    StartError::Config(text.into())
}

/// Talon's part of the environment, read once.
pub fn environment() -> Vec<(String, String)> {
    let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((key.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(text).filter(|(key, _)| key.starts_with("TALON_")).collect()
}

impl Config {
    /// # Errors
    /// Naming the setting: not known, not understood, or plain HTTP where others could listen.
    pub fn load(flags: &Flags, environment: &[(String, String)]) -> Result<Self, StartError> {
        let given = Given::gather(flags, environment)?;
        check_signers(&given)?;
        let owned = |text: &str| Some(text.to_owned());
        let path = |text: &str| Some(PathBuf::from(text));
        let listen = listen(&given)?;
        let tls = both(
            &given,
            "tls_cert",
            "tls_key",
            given.parsed("tls_cert", path)?,
            given.parsed("tls_key", path)?,
        )?;
        let proxied = given.parsed("behind_tls_proxy", switch)?.unwrap_or(false);
        if !listen.ip().is_loopback() && tls.is_none() && !proxied {
            return Err(wrong(format!(
                "listening on {listen} without TLS would send secrets in the clear: set tls_cert and tls_key, or \
                 behind_tls_proxy if a proxy terminates TLS"
            )));
        }
        let password = password(&given)?;
        let operator = both(
            &given,
            "operator_email",
            "operator_password",
            given.parsed("operator_email", owned)?,
            password,
        )?;
        let smtp = given.parsed("smtp_url", |text| {
            api::mail::is_smtp_url(text).then(|| SecretText::from(text.to_owned()))
        })?;
        let mail_from = given.parsed("mail_from", |text| api::mail::sender(text).map(|_| text.to_owned()))?;
        if smtp.is_some() && mail_from.is_none() {
            return Err(wrong("smtp_url and mail_from go together; mail_from is missing"));
        }
        Ok(Self {
            listen,
            data: given.parsed("data", path)?.unwrap_or_else(|| "talon-data".into()),
            database_url: given.parsed("database_url", database)?,
            public_url: public_url(&given, tls.is_some())?,
            signer: signer(&given)?,
            operator,
            trusted_proxies: given.parsed("trusted_proxies", networks)?.unwrap_or_default(),
            smtp,
            mail_from: mail_from.unwrap_or_else(|| NOBODY.into()),
            client_cert_header: client_cert_header(&given)?,
            egress_allow: given.parsed("egress_allow", networks)?.unwrap_or_default(),
            google: google(&given)?,
            tenderly: tenderly(&given)?,
            limits: limits(&given)?,
            approval_wait: given.parsed("approval_wait", approval_wait)?.unwrap_or(APPROVAL_WAIT),
            secret_retention: Duration::from_secs(
                given.parsed("secret_retention_days", days)?.unwrap_or(RETENTION_DAYS) * DAY,
            ),
            checkpoint_interval: given
                .parsed("audit_checkpoint_interval", seconds)?
                .unwrap_or(CHECKPOINT_INTERVAL),
            tls,
            log: given.parsed("log", owned)?.unwrap_or_else(|| "info".into()),
            rpc: given.nodes(),
            given,
        })
    }

    /// Whether a signer of our own has its keys in an HSM.
    pub fn has_hsm(&self) -> bool {
        self.given.text("keystore").is_some_and(|kind| kind.expose() == "pkcs11")
    }

    /// What a signer of our own is told: its settings, and nothing of the gateway's.
    ///
    /// Where it is not told where passkeys are used, that is where people find the gateway, if they can be used there.
    pub fn for_signer(&self) -> Vec<Variable> {
        let log = (variable("log"), SecretText::from(self.log.clone()));
        let own =
            self.given.variables().filter(|(key, ..)| SETTINGS.iter().any(|s| s.key == *key && s.signers));
        let told: Vec<Variable> = own.map(|(_, name, text)| (name, text.clone())).collect();
        let origin = self.public_url.parse::<signer::Origin>().ok();
        let origin = origin.filter(|_| self.given.text("signer_origin").is_none());
        let origin = origin.map(|origin| (variable("signer_origin"), origin.as_str().to_owned().into()));
        told.into_iter().chain([log]).chain(origin).collect()
    }

    /// What the worker is told: everything but the signer's settings. What it couldn't find out any more, once it
    /// has locked itself in, has been found out before.
    pub fn for_worker(&self, data: &Path, database_url: &str, signer: &SignerAt) -> Vec<Variable> {
        let gateways =
            self.given.variables().filter(|(key, ..)| !SETTINGS.iter().any(|s| s.key == *key && s.signers));
        let mut told: BTreeMap<String, SecretText> =
            gateways.map(|(_, name, text)| (name, text.clone())).collect();
        told.remove(&variable("operator_password_file"));
        if let Some((_, password)) = &self.operator {
            told.insert(variable("operator_password"), password.clone());
        }
        let found = [
            ("listen", self.listen.to_string()),
            ("data", data.display().to_string()),
            ("database_url", database_url.to_owned()),
            ("signer", signer.to_string()),
        ];
        told.extend(found.map(|(key, text)| (variable(key), text.into())));
        told.into_iter().collect()
    }
}

/// Where `talon admin` finds the gateway: the address that clients use, and nothing else of the configuration.
///
/// # Errors
/// If the configuration can't be read.
pub fn client_url(config: Option<PathBuf>, environment: &[(String, String)]) -> Result<String, StartError> {
    let given = Given::gather(&Flags { config, ..Flags::default() }, environment)?;
    public_url(&given, given.text("tls_cert").is_some())
}

fn listen(given: &Given) -> Result<SocketAddr, StartError> {
    let listen = given.parsed("listen", |text| text.parse().ok())?;
    Ok(listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8443))))
}

fn public_url(given: &Given, tls: bool) -> Result<String, StartError> {
    let scheme = if tls { "https" } else { "http" };
    let as_it_listens = format!("{scheme}://{}", listen(given)?);
    Ok(given.parsed("public_url", url)?.unwrap_or(as_it_listens))
}

/// The signer reads its settings itself. What it would refuse is refused here, by the name that it has here.
fn check_signers(given: &Given) -> Result<(), StartError> {
    given.parsed("keystore", |text| ["software", "pkcs11"].contains(&text).then_some(()))?;
    given.parsed("pkcs11_sessions", |text| text.parse::<u16>().ok().filter(|n| (1..=64).contains(n)))?;
    given.parsed("signer_origin", |text| text.parse::<signer::Origin>().ok())?;
    given.parsed("signer_max_fee", |text| Wei::parse_ether("signer_max_fee", text).ok())?;
    given.parsed("signer_allow_port", |text| {
        text.split(',').map(|port| port.parse::<u16>().ok()).collect::<Option<Vec<_>>>()
    })?;
    Ok(())
}

fn both<A, B>(
    given: &Given,
    first: &str,
    second: &str,
    one: Option<A>,
    other: Option<B>,
) -> Result<Option<(A, B)>, StartError> {
    match (one, other) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        _ => {
            let missing = if given.text(first).is_none() { first } else { second };
            Err(wrong(format!("{first} and {second} go together; {missing} is missing")))
        }
    }
}

fn password(given: &Given) -> Result<Option<SecretText>, StartError> {
    let Some(file) = given.text("operator_password_file") else {
        return Ok(given.text("operator_password").cloned());
    };
    if given.text("operator_password").is_some() {
        return Err(wrong("operator_password and operator_password_file are both set; one is enough"));
    }
    let text = std::fs::read_to_string(file.expose())
        .map_err(|error| wrong(format!("operator_password_file can't be read: {error}")))?;
    Ok(Some(SecretText::from(text.trim_end_matches(['\r', '\n']).to_owned())))
}

/// A header that nobody may set would be a promise that is not kept.
fn client_cert_header(given: &Given) -> Result<Option<HeaderName>, StartError> {
    let header = given.parsed("client_cert_header", |text| text.parse().ok())?;
    if header.is_some() && given.text("trusted_proxies").is_none() {
        return Err(wrong("client_cert_header is what trusted_proxies send; trusted_proxies is missing"));
    }
    Ok(header)
}

fn google(given: &Given) -> Result<Option<Google>, StartError> {
    let owned = |text: &str| Some(text.to_owned());
    // With its path and its slash: tokens name it as it is.
    let address = |text: &str| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        (!host.is_empty() && !host.contains(['?', '#', '@', ' '])).then(|| text.to_owned())
    };
    let issuer = given.parsed("google_issuer", address)?;
    let jwks = given.parsed("google_jwks", address)?;
    match given.parsed("google_client_id", owned)? {
        Some(client_id) => Ok(Some(Google {
            client_id,
            issuer: issuer.unwrap_or_else(|| "https://accounts.google.com".into()),
            jwks: jwks.unwrap_or_else(|| "https://www.googleapis.com/oauth2/v3/certs".into()),
        })),
        None if issuer.is_some() || jwks.is_some() => {
            Err(wrong("google_issuer and google_jwks go with google_client_id, which is missing"))
        }
        None => Ok(None),
    }
}

fn tenderly(given: &Given) -> Result<Option<TenderlySettings>, StartError> {
    // They become parts of an address.
    let name = |text: &str| {
        let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (!text.is_empty() && text.chars().all(fit)).then(|| text.to_owned())
    };
    let key = |text: &str| {
        let fit = |c: char| c.is_ascii_graphic();
        (text.len() >= 8 && text.chars().all(fit)).then(|| SecretText::from(text.to_owned()))
    };
    // The key goes along: in the clear only to a stand-in on this machine.
    let address = |text: &str| {
        let text = text.trim_end_matches('/');
        let is_here = |rest: &str| {
            let host = rest.split_once('/').map_or(rest, |(host, _)| host);
            let host = host
                .rsplit_once(':')
                .filter(|(_, port)| port.parse::<u16>().is_ok())
                .map_or(host, |(host, _)| host);
            host == "localhost"
                || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        };
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://").filter(|rest| is_here(rest)))?;
        (!rest.is_empty() && !rest.contains(['?', '#', '@', ' '])).then(|| text.to_owned())
    };
    let url = given.parsed("tenderly_url", address)?;
    let account = given.parsed("tenderly_account", name)?;
    let project = given.parsed("tenderly_project", name)?;
    match (account, project, given.parsed("tenderly_key", key)?) {
        (Some(account), Some(project), Some(key)) => {
            let url = url.unwrap_or_else(|| "https://api.tenderly.co".into());
            Ok(Some(TenderlySettings { url, account, project, key }))
        }
        (None, None, None) if url.is_none() => Ok(None),
        _ => Err(wrong(
            "tenderly_account, tenderly_project and tenderly_key go together; one of them is missing",
        )),
    }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn database(text: &str) -> Option<SecretText> {
    let known = ["sqlite://", "postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    known.then(|| SecretText::from(text.to_owned()))
}

fn url(text: &str) -> Option<String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?.trim_end_matches('/');
    let plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    plain.then(|| text.trim_end_matches('/').to_owned())
}

fn signer(given: &Given) -> Result<SignerAt, StartError> {
    const FILES: [&str; 3] = ["signer_ca", "signer_cert", "signer_key"];
    let files = FILES.map(|key| given.text(key).map(|text| PathBuf::from(text.expose())));
    let missing = FILES.into_iter().find(|key| given.text(key).is_none());
    match (given.parsed("signer", signer_at)?, files) {
        (Some(SignerPlace::Tls(at)), [Some(ca), Some(cert), Some(key)]) => {
            Ok(SignerAt::Tls(at, Files { ca, cert, key }))
        }
        (Some(SignerPlace::Tls(_)), _) => Err(wrong(format!(
            "signer = tls:HOST:PORT needs {}; {} is missing",
            FILES.join(", "),
            missing.unwrap_or_default()
        ))),
        // Whoever names them means to speak TLS, and would not.
        (_, files) if files.iter().any(Option::is_some) => {
            Err(wrong(format!("{} are for signer = tls:HOST:PORT alone", FILES.join(", "))))
        }
        (Some(SignerPlace::Unix(path)), _) => Ok(SignerAt::Unix(path)),
        (Some(SignerPlace::Spawn) | None, _) => Ok(SignerAt::Spawn),
    }
}

/// The setting by itself.
enum SignerPlace {
    Spawn,
    Unix(PathBuf),
    Tls(HostPort),
}

fn signer_at(text: &str) -> Option<SignerPlace> {
    match text.split_once(':') {
        None if text == "spawn" => Some(SignerPlace::Spawn),
        Some(("unix", path)) if !path.is_empty() => Some(SignerPlace::Unix(path.into())),
        Some(("tls", at)) => at.parse().ok().map(SignerPlace::Tls),
        _ => None,
    }
}

/// Only who asks for it has a limit on what is known to be asked for; a stranger has one anyway.
fn limits(given: &Given) -> Result<LimitSettings, StartError> {
    let rate = |key: &str| given.parsed(key, rate);
    Ok(LimitSettings {
        total: rate("limit_total")?.flatten(),
        address: rate("limit_address")?.unwrap_or_else(|| ADDRESS_LIMIT.parse().ok()),
        principal: rate("limit_principal")?.flatten(),
        organisation: rate("limit_organisation")?.flatten(),
        address_guesses: given.parsed("login_tries_address", tries)?.unwrap_or(ADDRESS_TRIES),
        address_places: given.parsed("login_places_address", places)?.unwrap_or(ADDRESS_PLACES),
    })
}

/// From one checkpoint of an audit chain to the next.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);

/// A second to a day.
fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|n| (1..=86_400).contains(n)).map(Duration::from_secs)
}

const RETENTION_DAYS: u64 = 30;
const DAY: u64 = 24 * 60 * 60;

fn days(text: &str) -> Option<u64> {
    text.parse().ok().filter(|days| *days <= 3650)
}

const ADDRESS_LIMIT: &str = "100/s:500";
const ADDRESS_TRIES: u32 = 50;
const ADDRESS_PLACES: usize = 16;
const APPROVAL_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// `Some(None)`: no limit.
fn rate(text: &str) -> Option<Option<Rate>> {
    if text == "off" { Some(None) } else { text.parse().ok().map(Some) }
}

fn places(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n| (1..=api::LOGIN_PLACES).contains(n))
}

/// Seconds: a minute to 30 days.
fn approval_wait(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|n| (60..=30 * 24 * 60 * 60).contains(n)).map(Duration::from_secs)
}

fn tries(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n| (1..=1_000_000).contains(n))
}

/// Addresses and networks, separated by commas. None of them: an empty list.
fn networks(text: &str) -> Option<Vec<IpNet>> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| item.parse().ok().or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from))).collect()
}

#[cfg(test)]
mod tests;
