//! The worker: what serves requests. Its standard input is the listening socket, its standard output the line to
//! the supervisor; whatever else it must know is in its environment.

use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use api::mail::Post;
use api::{Gateway, Parts, Settings};
use axum_server::Handle;
use domain::Clock;
use rustix::process::Signal;
use signer_protocol::{Address, Client};
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::config::{Config, SignerAt};
use crate::process::READY;
use crate::tls::Tls;
use crate::{StartError, isolation, rest};

/// What requests have to finish in when the gateway ends.
const GOODBYE: Duration = Duration::from_secs(10);
/// A signer that has just been started again is waited for.
const SIGNERS_START: Duration = Duration::from_secs(5);

/// # Errors
/// See [`StartError`].
pub fn run(config: Config) -> Result<ExitCode, StartError> {
    // Files are read before they are closed to this process.
    let spawned = || StartError::Config("--worker is for `talon serve` to use".into());
    let signer = signer_address(&config.signer)?.ok_or_else(spawned)?;
    // Even a worker that was stopped ends with the supervisor.
    let tied = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    tied.map_err(|error| StartError::Isolation(error.into()))?;
    let failed = |error| StartError::Process("the gateway", error);
    let listener = TcpListener::from(inherited(io::stdin()).map_err(failed)?);
    let line = UnixStream::from(inherited(io::stdout()).map_err(failed)?);
    let _another_may_be_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let tls = config.tls.as_ref().map(|(cert, key)| Tls::read(cert, key)).transpose()?;

    let folder = config.database_url.as_ref().and_then(|url| database_folder(url.expose()));
    // Made, and allowed, where it is used alone.
    let outbox = config.smtp.is_none().then(|| outbox(&config.data)).transpose()?;
    let post = post(&config, outbox.clone())?;
    let own: Vec<PathBuf> = folder.into_iter().chain(outbox).collect();
    isolation::lock_in(&own);
    let told = end_with_the_supervisor(line.try_clone().map_err(failed)?).map_err(failed)?;
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| StartError::Process("the runtime", error))?;
    runtime.block_on(serve(config, Client::new(signer), post, listener, tls, (line, told)))?;
    Ok(ExitCode::SUCCESS)
}

/// Where a signer that runs by itself is. `None`: it is a child of the supervisor's.
///
/// # Errors
/// If the files of mutual TLS can't be read.
pub fn signer_address(signer: &SignerAt) -> Result<Option<Address>, StartError> {
    Ok(match signer {
        SignerAt::Spawn => None,
        SignerAt::Unix(socket) => Some(Address::Unix(socket.clone())),
        SignerAt::Tls(at, files) => {
            let read = files.read().and_then(signer_protocol::tls::Credentials::client);
            let client = read.map_err(|error| StartError::Config(error.to_string()))?;
            Some(Address::Tls(at.clone(), Arc::new(client)))
        }
    })
}

fn inherited(stream: impl AsFd) -> io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}

/// Ends the process when the other end closes: the supervisor is dead, and nobody would start a signer again. What
/// comes before that is one byte, once the operator has been told what the worker had to say.
fn end_with_the_supervisor(mut line: UnixStream) -> io::Result<oneshot::Receiver<()>> {
    let (tell, told) = oneshot::channel();
    let wait = move || {
        let mut byte = [0];
        let mut tell = Some(tell);
        while line.read(&mut byte).is_ok_and(|read| read > 0) {
            let _stopped = tell.take().map(|tell| tell.send(()));
        }
        std::process::exit(1);
    };
    std::thread::Builder::new().name("supervisor".into()).spawn(wait)?;
    Ok(told)
}

/// Where mail goes without a server: one-time links are in it.
fn outbox(data: &Path) -> Result<PathBuf, StartError> {
    let folder = data.join("outbox");
    crate::data::private_folder(&folder).map_err(|error| StartError::DataFolder(folder.clone(), error))?;
    Ok(folder)
}

fn post(config: &Config, outbox: Option<PathBuf>) -> Result<Post, StartError> {
    let from = api::mail::sender(&config.mail_from)
        .ok_or_else(|| StartError::Config("mail_from (TALON_MAIL_FROM) must be NAME <ADDRESS>".into()))?;
    match (&config.smtp, outbox) {
        (Some(url), _) => Ok(Post::smtp(url, from)?),
        (None, Some(folder)) => Ok(Post::outbox(folder, from)),
        (None, None) => Err(StartError::Config("smtp_url (TALON_SMTP_URL) is missing".into())),
    }
}

/// A SQLite database's file. `None` for PostgreSQL.
pub fn database_file(url: &str) -> Option<PathBuf> {
    let file = url.strip_prefix("sqlite://")?.split('?').next()?;
    let mut bytes = Vec::with_capacity(file.len());
    let mut rest = file.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let encoded = if byte == b'%' { after.get(..2) } else { None };
        let decoded = encoded.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        rest = if decoded.is_some() { after.get(2..).unwrap_or_default() } else { after };
        bytes.push(decoded.unwrap_or(byte));
    }
    Some(PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes)))
}

/// Where a SQLite database keeps its files. `None` for PostgreSQL.
pub fn database_folder(url: &str) -> Option<PathBuf> {
    let file = database_file(url)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(folder.canonicalize().unwrap_or_else(|_| folder.to_owned()))
}

async fn serve(
    config: Config,
    signer: Client,
    post: Post,
    listener: TcpListener,
    tls: Option<Tls>,
    (line, told): (UnixStream, oneshot::Receiver<()>),
) -> Result<(), StartError> {
    let address = listener.local_addr().map_err(|error| StartError::Listen(config.listen, error))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut term =
        signal(SignalKind::terminate()).map_err(|error| StartError::Process("the signal handler", error))?;
    let tls = match tls {
        Some(tls) => Some(tls.parse()?),
        None => None,
    };
    let keystore = keystore(&signer).await?;
    let url = config.database_url.as_ref().map(|url| url.expose()).unwrap_or_default();
    let store = Store::open(url).await?;
    let settings = Settings {
        public_url: config.public_url,
        rpc: config.rpc,
        trusted_proxies: config.trusted_proxies,
        client_cert_header: config.client_cert_header,
        egress_allow: config.egress_allow,
        google: config.google,
        tenderly: config.tenderly,
        limits: config.limits,
        approval_wait: config.approval_wait,
        checkpoint_interval: config.checkpoint_interval,
        secret_retention: config.secret_retention,
        operator: config.operator,
    };
    let parts = Parts { store, signer, nodes: chains::Nodes::new(), post, clock: Clock::default(), settings };
    let gateway = Gateway::start(parts).await?;
    announce(line, &format!("{scheme}://{address}"), &config.data, &keystore, gateway.operator_link());
    // Without a supervisor at the other end this process is about to end.
    let _ending = told.await;

    let handle = Handle::new();
    tokio::spawn({
        let (handle, gateway) = (handle.clone(), gateway.clone());
        async move {
            term.recv().await;
            // They end by themselves only with their tokens.
            gateway.end_streams();
            handle.graceful_shutdown(Some(GOODBYE));
        }
    });
    let served = rest::serve(&gateway, listener, tls, handle).await;
    gateway.stop();
    served.map_err(|error| StartError::Listen(address, error))
}

/// Which keystore the signer has: the first question that it is asked.
async fn keystore(signer: &Client) -> Result<String, StartError> {
    let answers = async {
        loop {
            if let Ok(info) = signer.ask(async |signer, cx| signer.info(cx).await).await {
                return info.keystore;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let late = |_| StartError::SignerAway(signer.address().to_string(), signer.trouble().unwrap_or_default());
    tokio::time::timeout(SIGNERS_START, answers).await.map_err(late)
}

/// Tells the operator where everything is, and the supervisor that it is there.
fn announce(mut line: UnixStream, url: &str, data: &Path, keystore: &str, operator_link: Option<&str>) {
    let mut text = format!(
        "Talon listens on {url}\nAgents connect over MCP to {url}/mcp\nData folder: {}\nKeystore: {keystore}\n",
        data.display()
    );
    if let Some(link) = operator_link {
        text.push_str(&format!("Make the operator's account here (once, within 24 hours): {link}\n"));
    }
    text.push_str(READY);
    text.push('\n');
    // Without a supervisor at the other end this process is about to end.
    let _closed = line.write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_databases_folder_is_the_one_that_sqlite_uses() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a b%?é");
        let data = crate::data::Data::open(&odd).unwrap();
        let expected = odd.canonicalize().unwrap().join("gateway");
        assert_eq!(database_folder(&data.database_url()).unwrap(), expected);
        assert_eq!(
            database_folder("sqlite://talon.db?mode=rwc").unwrap(),
            Path::new(".").canonicalize().unwrap()
        );
        assert_eq!(database_folder("sqlite:///x%2/100%.db").unwrap(), Path::new("/x%2"));
        assert_eq!(database_folder("postgres://h/d"), None);
    }
}
