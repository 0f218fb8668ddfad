//! The settings, all of them: what they are called, what they take and what they are for. Flags, `--help`, the
//! environment and the file come from this one table, so none of them can know a setting that another doesn't.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches};
use domain::SecretText;

use crate::StartError;

/// One setting. `TALON_` and the key in capitals names it in the environment, the key in a file.
pub struct Setting {
    pub key: &'static str,
    /// What it takes, as `--help` and errors say it.
    pub takes: &'static str,
    pub help: &'static str,
    /// Of a signer that Talon starts itself, which is told by its environment.
    pub signers: bool,
    /// It has no flag: a command line shows in the list of processes.
    pub secret: bool,
}

const fn gateway(key: &'static str, takes: &'static str, help: &'static str) -> Setting {
    Setting { key, takes, help, signers: false, secret: false }
}

const fn signer(key: &'static str, takes: &'static str, help: &'static str) -> Setting {
    Setting { key, takes, help, signers: true, secret: false }
}

impl Setting {
    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

const RATE: &str = "NUMBER/s or NUMBER/m, with :BURST, or off";

pub const SETTINGS: &[Setting] = &[
    gateway(
        "listen",
        "ADDRESS:PORT",
        "Where to listen; plain HTTP on loopback alone [default: 127.0.0.1:8443]",
    ),
    gateway("data", "FOLDER", "The data folder [default: talon-data]"),
    gateway(
        "database_url",
        "sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME",
        "The database [default: SQLite in the data folder]",
    )
    .secret(),
    gateway("public_url", "http(s)://HOST[:PORT]", "The address that clients use [default: as it listens]"),
    gateway(
        "signer",
        "spawn, unix:PATH or tls:HOST:PORT",
        "A signer of its own, or one that runs: its socket, or its host [default: spawn]",
    ),
    gateway("signer_ca", "FILE", "With tls: the CA of the signer's certificate and ours, PEM"),
    gateway("signer_cert", "FILE", "With tls: the certificate that the signer knows this gateway by, PEM"),
    gateway("signer_key", "FILE", "With tls: the key of that certificate, PEM"),
    gateway(
        "operator_email",
        "EMAIL",
        "The operator's account, made on a first start; else a link is printed once",
    ),
    gateway("operator_password", "PASSWORD", "The operator's password").secret(),
    gateway("operator_password_file", "FILE", "A file with the operator's password"),
    gateway(
        "trusted_proxies",
        "ADDRESS[/PREFIX],…",
        "Proxies whose X-Forwarded-For is believed [default: none]",
    ),
    gateway(
        "smtp_url",
        "smtp(s)://[USER:PASSWORD@]HOST[:PORT]",
        "The server that sends mail; STARTTLS is insisted on but on loopback [default: mail goes to outbox/]",
    )
    .secret(),
    gateway("mail_from", "NAME <ADDRESS>", "Whom mail is from; goes with smtp_url"),
    gateway(
        "client_cert_header",
        "HEADER",
        "The header in which trusted_proxies name a client's certificate [default: none]",
    ),
    gateway(
        "audit_checkpoint_interval",
        "SECONDS",
        "From one signed checkpoint of an audit trail to the next, while it grows [default: 300]",
    ),
    gateway(
        "egress_allow",
        "ADDRESS[/PREFIX],…",
        "Private networks that issuers of tokens may be in [default: none]",
    ),
    gateway(
        "google_client_id",
        "CLIENT_ID",
        "Lets people sign in with Google: the client that you registered",
    ),
    gateway(
        "google_issuer",
        "http(s)://HOST[/PATH]",
        "Who issues Google's tokens [default: https://accounts.google.com]",
    ),
    gateway(
        "google_jwks",
        "http(s)://HOST[/PATH]",
        "Where the keys of Google's tokens are [default: https://www.googleapis.com/oauth2/v3/certs]",
    ),
    gateway(
        "tenderly_account",
        "NAME",
        "Whose account at Tenderly simulates transactions [default: the chains' nodes do]",
    ),
    gateway("tenderly_project", "NAME", "The project of that account"),
    gateway("tenderly_key", "KEY", "An access key of that account").secret(),
    gateway(
        "tenderly_url",
        "https://HOST",
        "Where Tenderly is; http:// on loopback alone [default: https://api.tenderly.co]",
    ),
    gateway("tls_cert", "FILE", "The TLS certificate and its chain, PEM"),
    gateway("tls_key", "FILE", "The key of the TLS certificate, PEM"),
    gateway("behind_tls_proxy", "true or false", "A proxy in front terminates TLS [default: false]"),
    gateway("limit_total", RATE, "Requests at this gateway, all together [default: off]"),
    gateway("limit_address", RATE, "Requests of one client address, loopback aside [default: 100/s:500]"),
    gateway("limit_principal", RATE, "Requests of one person or agent [default: off]"),
    gateway("limit_organisation", RATE, "Requests of one organisation [default: off]"),
    gateway(
        "login_tries_address",
        "NUMBER, 1 to 1000000",
        "Wrong log-ins from one address that cost no wait [default: 50]",
    ),
    gateway(
        "login_places_address",
        "NUMBER, 1 to 128",
        "Log-ins with a password from one address at once [default: 16]",
    ),
    gateway(
        "approval_wait",
        "SECONDS, 60 to 2592000",
        "How long a request for an approval waits for people [default: 86400]",
    ),
    gateway(
        "secret_retention_days",
        "NUMBER, 0 to 3650",
        "Days in which a deleted secret can be restored; then it is erased [default: 30]",
    ),
    gateway(
        "log",
        "FILTER",
        "What is logged, on standard error: info, or talon_api=debug,info [default: info]",
    ),
    signer("keystore", "software or pkcs11", "Where the signer's keys are [default: software]"),
    signer("keystore_passphrase", "PASSPHRASE", "Seals the software keystore").secret(),
    signer("keystore_passphrase_file", "FILE", "A file with the software keystore's passphrase"),
    signer("pkcs11_module", "FILE", "The HSM's PKCS#11 module"),
    signer("pkcs11_token", "LABEL", "The label of the HSM's token"),
    signer("pkcs11_pin", "PIN", "The token's PIN").secret(),
    signer("pkcs11_pin_file", "FILE", "A file with the token's PIN"),
    signer("pkcs11_sessions", "NUMBER, 1 to 64", "Sessions kept open with the HSM [default: 4]"),
    signer(
        "signer_max_fee",
        "ETHER",
        "The most that one transaction may cost in fees, for agents without a limit [default: 1]",
    ),
    signer(
        "signer_origin",
        "https://HOST[:PORT]",
        "The site where people use their passkeys, by a name [default: public_url, if that has one]",
    ),
    signer(
        "signer_allow",
        "PATH[:PATH]",
        "What the HSM's module needs to read and write beside the system's",
    ),
    signer("signer_allow_port", "PORT[,PORT]", "TCP ports that the HSM's module connects to"),
];

const PREFIX: &str = "TALON_";
/// Whose `talon admin` is. A shell that has it starts a gateway all the same, which never sees it.
pub const TOKEN: &str = "TALON_TOKEN";
/// `[rpc]` in a file, `TALON_RPC_BASE_SEPOLIA` in the environment: a node's address, by chain name.
const RPC: &str = "rpc_";
/// Read when nothing else is named.
const FILE: &str = "talon.toml";

/// The setting's name in the environment.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('-', "_"))
}

/// The flags of `talon serve` and `talon migrate`.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    /// This process is the one that serves: `talon serve` has started it, and has told it all by the environment.
    pub worker: bool,
    pub(crate) given: BTreeMap<&'static str, String>,
}

impl clap::Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("The configuration file [env: TALON_CONFIG] [default: talon.toml, where there is one]");
        let worker = Arg::new("worker").long("worker").action(ArgAction::SetTrue).hide(true);
        command
            .arg(config)
            .arg(worker)
            .args(SETTINGS.iter().filter(|setting| !setting.secret).map(flag))
            .after_help(without_flags())
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

fn flag(setting: &Setting) -> Arg {
    let flag = Arg::new(setting.key)
        .long(setting.key.replace('_', "-"))
        .value_name(setting.takes)
        .help(format!("{} [env: {}]", setting.help, variable(setting.key)));
    // A switch needs no value.
    if setting.takes == "true or false" { flag.num_args(0..=1).default_missing_value("true") } else { flag }
}

fn without_flags() -> String {
    let mut text = String::from("Secrets come from the environment or the file alone:\n");
    for setting in SETTINGS.iter().filter(|setting| setting.secret) {
        text.push_str(&format!(
            "  {:<27} {}: {}\n",
            variable(setting.key),
            setting.help.trim_end(),
            setting.takes
        ));
    }
    text.push_str(
        "  TALON_RPC_<CHAIN>           A node's address, such as TALON_RPC_BASE_SEPOLIA=https://…\n\n",
    );
    text.push_str("Flags are over the environment, and that is over the file.");
    text
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>("config").cloned();
        self.worker = matches.get_flag("worker");
        for setting in SETTINGS.iter().filter(|setting| !setting.secret) {
            if let Some(text) = matches.get_one::<String>(setting.key) {
                self.given.insert(setting.key, text.clone());
            }
        }
        Ok(())
    }
}

/// What was set, as text, by key. Any of it may be secret.
#[derive(Debug)]
pub struct Given(BTreeMap<String, SecretText>);

impl Given {
    /// Flags over the environment over the file. Settings that are empty in the environment are not set.
    ///
    /// # Errors
    /// Naming what is not known, and the nearest that is; never with a value.
    pub fn gather(flags: &Flags, environment: &[(String, String)]) -> Result<Self, StartError> {
        let set = |name: &str| environment.iter().find(|(key, value)| key == name && !value.is_empty());
        let mut given = match (flags.worker, &flags.config, set("TALON_CONFIG")) {
            (true, ..) => BTreeMap::new(),
            (_, Some(file), _) => read(file)?,
            (_, None, Some((_, file))) => read(Path::new(file))?,
            (_, None, None) if Path::new(FILE).exists() => read(Path::new(FILE))?,
            (_, None, None) => BTreeMap::new(),
        };
        for (name, value) in environment {
            let Some(key) = name.strip_prefix(PREFIX).map(str::to_ascii_lowercase) else { continue };
            if key == "config" || name == TOKEN || value.is_empty() {
                continue;
            }
            let key = match key.strip_prefix(RPC) {
                Some(chain) => format!("{RPC}{}", chain.replace('_', "-")),
                None if known(&key) => key,
                None => return Err(unknown(name, &variable(nearest(&key)))),
            };
            given.insert(key, SecretText::from(value.clone()));
        }
        given.extend(flags.given.iter().map(|(key, text)| ((*key).to_owned(), text.clone().into())));
        Ok(Self(given))
    }

    pub fn text(&self, key: &str) -> Option<&SecretText> {
        self.0.get(key)
    }

    /// The setting, parsed.
    ///
    /// # Errors
    /// Saying what the setting takes, never what was given.
    pub fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, StartError> {
        let takes = || SETTINGS.iter().find(|setting| setting.key == key).map_or("", |setting| setting.takes);
        let wrong = || StartError::Config(format!("{key} ({}) must be {}", variable(key), takes()));
        self.text(key).map(|text| parse(text.expose()).ok_or_else(wrong)).transpose()
    }

    /// The addresses of nodes, by chain name.
    pub fn nodes(&self) -> BTreeMap<String, SecretText> {
        let nodes =
            self.0.iter().filter_map(|(key, url)| Some((key.strip_prefix(RPC)?.to_owned(), url.clone())));
        nodes.collect()
    }

    /// All that was set, as environment variables.
    pub fn variables(&self) -> impl Iterator<Item = (&str, String, &SecretText)> {
        self.0.iter().map(|(key, text)| (key.as_str(), variable(key), text))
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, SecretText>, StartError> {
    let wrong = |text: String| StartError::Config(format!("{}: {text}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("it can't be read ({error})")))?;
    // The place and the message alone: toml's whole text repeats the line, which may hold a password.
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        wrong(format!("line {}: {}", before.lines().count().max(1), error.message()))
    })?;
    let mut given = BTreeMap::new();
    for (key, value) in table {
        match (key.as_str(), value) {
            ("rpc", toml::Value::Table(nodes)) => {
                for (chain, url) in nodes {
                    let url =
                        one(&url).ok_or_else(|| wrong(format!("rpc.{chain} must be a node's address")))?;
                    given.insert(format!("{RPC}{chain}"), url.into());
                }
            }
            (key, value) if known(key) => {
                let text =
                    as_text(&value).ok_or_else(|| wrong(format!("{key} has a value of the wrong kind")))?;
                given.insert(key.to_owned(), text.into());
            }
            (key, _) => return Err(unknown(&format!("{}: {key}", path.display()), nearest(key))),
        }
    }
    Ok(given)
}

/// A file's values in the environment's spelling.
fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::Array(items) => {
            items.iter().map(one).collect::<Option<Vec<_>>>().map(|all| all.join(","))
        }
        value => one(value),
    }
}

fn one(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn known(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key == key)
}

fn unknown(name: &str, nearest: &str) -> StartError {
    StartError::Config(format!("{name} is not a setting; the nearest is {nearest}"))
}

/// The setting whose name has it as a part (`pin`), else the one that takes the fewest edits to reach.
fn nearest(key: &str) -> &'static str {
    let far = |s: &&Setting| (!s.key.contains(key), distance(key.as_bytes(), s.key.as_bytes()));
    SETTINGS.iter().min_by_key(far).map_or("", |setting| setting.key)
}

/// Levenshtein's distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
