//! The worker: what serves requests.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use api::{Gateway, Parts, Settings};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use domain::Clock;
use signer_protocol::Client;
use store::Store;
use tokio::io::AsyncReadExt as _;

use crate::config::{Config, SignerAt};
use crate::data::Data;
use crate::{StartError, isolation, rest};

/// What requests have to finish in when the gateway ends.
const GOODBYE: std::time::Duration = std::time::Duration::from_secs(10);

pub fn run(config: Config, data: Data) -> Result<ExitCode, StartError> {
    let _another_may_be_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    isolation::lock_in(&own_folders(&config, &data), &readable(&config), &data.signer());
    let runtime = tokio::runtime::Runtime::new().map_err(|e| StartError::Process("the runtime", e))?;
    runtime.block_on(serve(config, data))?;
    Ok(ExitCode::SUCCESS)
}

/// What the gateway writes: its own folder, and that of a database elsewhere.
fn own_folders(config: &Config, data: &Data) -> Vec<PathBuf> {
    let elsewhere = config.database_url.as_ref().and_then(|url| url.expose().strip_prefix("sqlite://"));
    let elsewhere = elsewhere.and_then(|path| PathBuf::from(path).parent().map(ToOwned::to_owned));
    [Some(data.gateway()), elsewhere, data.socket().parent().map(ToOwned::to_owned)].into_iter().flatten().collect()
}

fn readable(config: &Config) -> Vec<PathBuf> {
    let tls = config.tls.iter().flat_map(|(cert, key)| [cert, key]);
    tls.filter_map(|path| path.parent().map(ToOwned::to_owned)).collect()
}

async fn serve(config: Config, data: Data) -> Result<(), StartError> {
    // First of all: a port that is taken should be said at once.
    let listener = std::net::TcpListener::bind(config.listen).map_err(|e| StartError::Listen(config.listen, e))?;
    listener.set_nonblocking(true).map_err(|e| StartError::Listen(config.listen, e))?;
    let address = listener.local_addr().map_err(|e| StartError::Listen(config.listen, e))?;
    let tls = match &config.tls {
        Some((cert, key)) => Some(RustlsConfig::from_pem_file(cert, key).await.map_err(StartError::Tls)?),
        None => None,
    };
    let store = Store::open(&data.database_url(&config)).await?;
    let socket = match &config.signer {
        SignerAt::Spawn => data.socket(),
        SignerAt::Unix(path) => path.clone(),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let settings = Settings {
        public_url: config.public_url.clone(),
        rpc: config.rpc.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        operator: config.operator.clone(),
    };
    let parts =
        Parts { store, signer: Client::new(socket), nodes: chains::Nodes::new(), clock: Clock::default(), settings };
    let gateway = Gateway::start(parts).await?;
    announce(&format!("{scheme}://{address}"), &config, gateway.operator_link());
    let handle = Handle::new();
    tokio::spawn(until_told(handle.clone()));
    let app = rest::router(&gateway).into_make_service_with_connect_info::<std::net::SocketAddr>();
    let served = match tls {
        Some(tls) => match axum_server::from_tcp_rustls(listener, tls) {
            Ok(server) => server.handle(handle).serve(app).await,
            Err(error) => Err(error),
        },
        None => match axum_server::from_tcp(listener) {
            Ok(server) => server.handle(handle).serve(app).await,
            Err(error) => Err(error),
        },
    };
    gateway.stop();
    served.map_err(|e| StartError::Listen(address, e))
}

/// Says where it is, once it listens.
fn announce(url: &str, config: &Config, operator_link: Option<&str>) {
    let mut text = format!("Talon listens on {url}\nIts data is in {}\n", config.data.display());
    if let Some(link) = operator_link {
        text.push_str(&format!("Make the operator's account here (once, within 24 hours): {link}\n"));
    }
    let mut out = std::io::stdout();
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Until whoever started the worker closes its standard input, by its will or its death.
async fn until_told(handle: Handle<std::net::SocketAddr>) {
    let mut byte = [0];
    while tokio::io::stdin().read(&mut byte).await.is_ok_and(|n| n > 0) {}
    handle.graceful_shutdown(Some(GOODBYE));
}
