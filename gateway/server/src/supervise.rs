//! `talon serve`: two children, the signer and the worker that serves, and this process to look after them.
//!
//! The worker locks itself out of the signer's folder, so it could not start the signer again; this process can,
//! and does nothing else. It speaks to nobody but its children.

use std::io::IsTerminal as _;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Config, SignerAt, environment};
use crate::data::Data;
use crate::process::{Running, Signer, Worker};
use crate::settings::Flags;
use crate::{StartError, isolation, worker};

/// Between a child's death and the next one's start.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A child that was up for so long is no part of a series of failures.
const STEADY: Duration = Duration::from_secs(1);
/// What each child has to end in. The worker gives its requests ten seconds.
const GOODBYE: Duration = Duration::from_secs(15);

/// Starts everything, and ends with it.
///
/// # Errors
/// See [`StartError`].
pub fn serve(flags: &Flags) -> Result<ExitCode, StartError> {
    let config = Config::load(flags, &environment())?;
    let filter = EnvFilter::try_new(&config.log).map_err(|_| {
        StartError::Config("log (TALON_LOG) must be FILTER, such as talon_api=debug,info".into())
    })?;
    let coloured = std::io::stderr().is_terminal();
    // Below a warning the MCP library logs whole messages, values and all.
    let no_values = filter_fn(|event| !event.target().starts_with("rmcp") || *event.level() <= Level::WARN);
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(coloured);
    // Filters of the whole, not of the layer: sqlx asks whether a statement would be logged, and a layer's own filter takes
    // its answer for the next event of the thread, which is lost then.
    tracing_subscriber::registry().with(filter).with(no_values).with(log).init();
    isolation::close_memory()?;
    if flags.worker {
        return worker::run(config);
    }
    let data = Data::open(&config.data)?;
    let _lock = data.lock()?;
    let failed = |error| StartError::Process("the runtime", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(supervise(&config, &data))
}

async fn supervise(config: &Config, data: &Data) -> Result<ExitCode, StartError> {
    let failed = |error| StartError::Process("the signal handler", error);
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    // A port that is taken is said before anything is started.
    let not_there = |error| StartError::Listen(config.listen, error);
    let listener = TcpListener::bind(config.listen).map_err(not_there)?;
    listener.set_nonblocking(true).map_err(not_there)?;

    let url = config.database_url.as_ref().map_or_else(|| data.database_url(), |url| url.expose().to_owned());
    let (own_signer, signer) = match &config.signer {
        SignerAt::Spawn => (Some(Signer::new(config, data)), SignerAt::Unix(data.socket())),
        running => (None, running.clone()),
    };
    if own_signer.is_some() {
        isolation::apart(&data.signer(), worker::database_folder(&url).as_deref())?;
    }
    let worker = Worker::new(config.for_worker(data.root(), &url, &signer), listener);

    let (mut signer_runs, mut worker_runs) = (None, None);
    tokio::select! {
        error = keep(own_signer.as_ref(), &mut signer_runs, &worker, &mut worker_runs) => return Err(error),
        () = told_to_end(&mut term, &mut interrupt) => {}
    }
    worker.close();
    // The worker first: its last requests need the signer. Whoever asks twice is in a hurry.
    let goodbye = async {
        for child in [worker_runs, signer_runs].into_iter().flatten() {
            child.end(GOODBYE).await;
        }
    };
    tokio::select! {
        () = goodbye => {}
        () = told_to_end(&mut term, &mut interrupt) => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn told_to_end(term: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Starts both and keeps them up. Ends only if one can't be started at first.
async fn keep(
    signer: Option<&Signer>,
    signer_runs: &mut Option<Running>,
    worker: &Worker,
    worker_runs: &mut Option<Running>,
) -> StartError {
    if let Some(signer) = signer {
        match signer.first_start().await {
            Ok(running) => *signer_runs = Some(running),
            Err(error) => return error,
        }
    }
    match worker.start().await {
        Ok(running) => *worker_runs = Some(running),
        Err(error) => return error,
    }
    let keep_signer = async {
        match signer {
            Some(signer) => keep_up("the signer", signer_runs, async || signer.start().await).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = keep_signer => never,
        never = keep_up("the gateway", worker_runs, async || worker.start().await) => never,
    }
}

/// Starts a child again whenever it ends, more slowly the more often it fails.
async fn keep_up<E>(
    name: &str,
    runs: &mut Option<Running>,
    start: impl AsyncFn() -> Result<Running, StartError>,
) -> E {
    let mut pause = FIRST_PAUSE;
    loop {
        let since = Instant::now();
        if let Some(running) = runs {
            match running.ended().await {
                Ok(status) => tracing::error!(%status, "{name} ended; it is started again"),
                Err(error) => tracing::error!(%error, "{name} is lost; it is started again"),
            }
            *runs = None;
        }
        if since.elapsed() >= STEADY {
            pause = FIRST_PAUSE;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        match start().await {
            Ok(running) => *runs = Some(running),
            Err(error) => tracing::error!(%error, "{name} can't be started yet"),
        }
    }
}
