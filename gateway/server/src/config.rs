//! Configuration: a TOML file, the environment over it, flags over both.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use domain::SecretText;
use ipnet::IpNet;
use serde::Deserialize;

use crate::StartError;

/// Flags of `talon serve`. Each has an environment variable, and a key in the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeOptions {
    /// Configuration file; `talon.toml` in the working folder when there is one.
    #[arg(long, env = "TALON_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8443].
    #[arg(long)]
    pub listen: Option<SocketAddr>,
    /// The data folder [default: talon-data].
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// `sqlite://FILE` or `postgres://…` [default: a file in the data folder].
    #[arg(long)]
    pub database_url: Option<String>,
    /// As clients reach it [default: from the listening address].
    #[arg(long)]
    pub public_url: Option<String>,
    /// `spawn`, or `unix:PATH` of a signer that runs already [default: spawn].
    #[arg(long)]
    pub signer: Option<String>,
    /// Log filter, such as `info` or `talon_api=debug` [default: info].
    #[arg(long)]
    pub log: Option<String>,
    /// This process is the one that serves; `talon serve` starts it itself.
    #[arg(long, hide = true)]
    pub worker: bool,
}

/// The file's keys. Each can be given as `TALON_<KEY>` too; lists are separated by commas there.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    listen: Option<SocketAddr>,
    data: Option<PathBuf>,
    database_url: Option<SecretText>,
    public_url: Option<String>,
    signer: Option<String>,
    operator_email: Option<String>,
    operator_password: Option<SecretText>,
    operator_password_file: Option<PathBuf>,
    trusted_proxies: Option<Vec<IpNet>>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    behind_tls_proxy: Option<bool>,
    log: Option<String>,
    /// Addresses of nodes by chain name.
    #[serde(default)]
    rpc: BTreeMap<String, SecretText>,
}

/// What is in force.
pub struct Config {
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub database_url: Option<SecretText>,
    pub public_url: String,
    pub signer: SignerAt,
    pub operator: Option<(String, SecretText)>,
    pub trusted_proxies: Vec<IpNet>,
    /// Certificate and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    pub log: String,
    pub rpc: BTreeMap<String, SecretText>,
}

/// Where the signer is.
pub enum SignerAt {
    /// A child process.
    Spawn,
    Unix(PathBuf),
}

/// Environment variables that the signer reads, and that the gateway only passes on.
const SIGNERS: [&str; 10] = [
    "TALON_KEYSTORE",
    "TALON_KEYSTORE_PASSPHRASE",
    "TALON_PKCS11_MODULE",
    "TALON_PKCS11_TOKEN",
    "TALON_PKCS11_PIN",
    "TALON_PKCS11_PIN_FILE",
    "TALON_PKCS11_SESSIONS",
    "TALON_MAX_FEE_ETH",
    "TALON_SIGNER_PEER_UID",
    "TALON_CONFIG",
];
const PREFIX: &str = "TALON_";

fn wrong(text: impl Into<String>) -> StartError {
    StartError::Config(text.into())
}

impl Config {
    /// # Errors
    /// Naming the key, for unknown keys, bad values and a plain-HTTP address that others can reach.
    pub fn load(options: &ServeOptions, environment: &[(String, String)]) -> Result<Self, StartError> {
        let file = read_file(options.config.as_deref())?;
        let env = read_environment(environment)?;
        let listen = options.listen.or(env.listen).or(file.listen);
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8443)));
        let tls = match (env.tls_cert.or(file.tls_cert), env.tls_key.or(file.tls_key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(wrong("tls_cert and tls_key go together; one of them is missing")),
        };
        let proxied = env.behind_tls_proxy.or(file.behind_tls_proxy).unwrap_or(false);
        if !listen.ip().is_loopback() && tls.is_none() && !proxied {
            return Err(wrong(format!(
                "listening on {listen} without TLS would send secrets in the clear: set tls_cert and tls_key, or \
                 behind_tls_proxy = true if a proxy terminates TLS"
            )));
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let public_url = options.public_url.clone().or(env.public_url).or(file.public_url);
        let signer = options.signer.clone().or(env.signer).or(file.signer);
        let mut rpc = file.rpc;
        rpc.extend(env.rpc);
        let password = match env.operator_password.or(file.operator_password) {
            Some(password) => Some(password),
            None => env.operator_password_file.or(file.operator_password_file).map(|p| read_secret(&p)).transpose()?,
        };
        Ok(Self {
            listen,
            data: options.data.clone().or(env.data).or(file.data).unwrap_or_else(|| "talon-data".into()),
            database_url: options.database_url.clone().map(SecretText::from).or(env.database_url).or(file.database_url),
            public_url: public_url.map_or_else(|| format!("{scheme}://{listen}"), |u| u.trim_end_matches('/').into()),
            signer: signer_at(signer.as_deref())?,
            operator: match (env.operator_email.or(file.operator_email), password) {
                (Some(email), Some(password)) => Some((email, password)),
                (None, None) => None,
                _ => return Err(wrong("operator_email and operator_password go together; one of them is missing")),
            },
            trusted_proxies: env.trusted_proxies.or(file.trusted_proxies).unwrap_or_default(),
            tls,
            log: options.log.clone().or(env.log).or(file.log).unwrap_or_else(|| "info".into()),
            rpc,
        })
    }
}

/// The environment, read once.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars().filter(|(key, _)| key.starts_with(PREFIX)).collect()
}

fn signer_at(text: Option<&str>) -> Result<SignerAt, StartError> {
    match text {
        None | Some("spawn") => Ok(SignerAt::Spawn),
        Some(text) => match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(SignerAt::Unix(path.into())),
            _ => Err(wrong("signer must be spawn, or unix:PATH")),
        },
    }
}

fn read_file(path: Option<&Path>) -> Result<Layer, StartError> {
    let path = match path {
        Some(path) => path,
        None if Path::new("talon.toml").exists() => Path::new("talon.toml"),
        None => return Ok(Layer::default()),
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("{} can't be read: {e}", path.display())))?;
    toml::from_str(&text).map_err(|error| {
        // The message alone: toml's whole text repeats the line, which may hold a password.
        wrong(format!("{}: {}", path.display(), error.message()))
    })
}

fn read_secret(path: &Path) -> Result<SecretText, StartError> {
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("{} can't be read: {e}", path.display())))?;
    Ok(SecretText::from(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn read_environment(environment: &[(String, String)]) -> Result<Layer, StartError> {
    let mut table = toml::Table::new();
    let mut rpc = toml::Table::new();
    for (key, value) in environment {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        if SIGNERS.contains(&key.as_str()) || name.starts_with("TEST_") {
            continue;
        }
        if let Some(chain) = name.strip_prefix("RPC_") {
            rpc.insert(chain.to_lowercase().replace('_', "-"), value.clone().into());
            continue;
        }
        let value = match name {
            "TRUSTED_PROXIES" => value.split(',').map(|p| p.trim().into()).collect::<Vec<toml::Value>>().into(),
            "BEHIND_TLS_PROXY" => match value.as_str() {
                "true" | "1" => true.into(),
                "false" | "0" | "" => false.into(),
                _ => return Err(wrong(format!("{key} must be true or false"))),
            },
            _ => value.clone().into(),
        };
        table.insert(name.to_lowercase(), value);
    }
    table.insert("rpc".into(), rpc.into());
    table.try_into().map_err(|error: toml::de::Error| {
        wrong(format!("a TALON_ environment variable is not understood: {}", error.message()))
    })
}

/// Brings the database up to date, and ends.
///
/// # Errors
/// See [`StartError`].
pub fn migrate(options: ServeOptions) -> Result<(), StartError> {
    let config = Config::load(&options, &environment())?;
    let data = crate::data::Data::open(&config.data)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|e| StartError::Process("the runtime", e))?;
    runtime.block_on(store::Store::open(&data.database_url(&config)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)], file: Option<&str>) -> Result<Config, StartError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("talon.toml");
        std::fs::write(&path, file.unwrap_or_default()).unwrap();
        let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::load(&ServeOptions { config: Some(path), ..Default::default() }, &environment)
    }

    #[test]
    fn the_environment_is_over_the_file() {
        let file = "listen = \"127.0.0.1:1\"\n[rpc]\nbase = \"http://file\"\nlocal = \"http://file\"";
        let config = load(&[("TALON_LISTEN", "127.0.0.1:2"), ("TALON_RPC_BASE", "http://env")], Some(file)).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.rpc["base"].expose(), "http://env");
        assert_eq!(config.rpc["local"].expose(), "http://file");
    }

    #[test]
    fn what_is_not_understood_is_named_and_never_shown() {
        for (environment, file, named) in [
            (&[("TALON_LISTN", "x")][..], None, "listn"),
            (&[], Some("listn = 1"), "listn"),
            (&[("TALON_OPERATOR_EMAIL", "a@b.c")], None, "operator_password"),
            (&[("TALON_LISTEN", "0.0.0.0:80")], None, "TLS"),
            (&[("TALON_TLS_CERT", "x")], None, "tls_key"),
            (&[("TALON_SIGNER", "tcp:1")], None, "signer"),
            (&[], Some("operator_password = hunter2"), "talon.toml"),
        ] {
            let error = load(environment, file).err().unwrap().to_string();
            assert!(error.contains(named), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let documented = load(&[], Some(include_str!("../../config.default.toml"))).unwrap();
        let default = load(&[], None).unwrap();
        assert_eq!(documented.listen, default.listen);
        assert_eq!(documented.data, default.data);
        assert_eq!(documented.log, default.log);
        assert_eq!(documented.public_url, default.public_url);
    }
}
