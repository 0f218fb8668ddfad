//! The trail as JSON lines, so that it can be kept and checked without Talon: every field that is hashed, exactly, and the
//! last checkpoint at the end. `talon audit verify` reads it.

use std::time::Duration;

use bytes::Bytes;
use domain::access::{Permit, ReadAudit};
use domain::audit::walk::Place;
use domain::{Error, Kind, OrgId, Result, Time};
use futures::StreamExt as _;
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::audit::trail;
use store::{Store, checkpoints};
use tokio::sync::mpsc;

use crate::access::InOrg;
use crate::checkpoint::Checkpoint;
use crate::cx::Cx;
use crate::decode;
use crate::jobs;
use crate::once::Doing;
use crate::operation::{Operation, Reply, Route, Streamed};

/// Events in one piece of the answer.
const BATCH: u32 = 500;
/// Who takes no piece for so long has gone away.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize, JsonSchema)]
pub struct ExportQuery {
    /// From this moment on; some events before it may be there, too.
    #[serde(default)]
    from: Option<Time>,
    /// Up to this moment; some events after it may be there, too.
    #[serde(default)]
    to: Option<Time>,
}

/// The first line of an export that does not begin with the first event.
#[derive(Serialize)]
struct After {
    after: Place,
}

/// The last line: without it, the export broke off.
#[derive(Serialize)]
struct End {
    checkpoint: Option<Checkpoint>,
}

/// The trail, whole or of a span of time.
pub struct ExportAudit;

impl Operation for ExportAudit {
    const ROUTE: Route = Route::new(
        "exportAudit",
        Method::GET,
        "/v1/audit/export",
        200,
        "Exports your organisation's audit trail as JSON lines, oldest first, with the last checkpoint as its last line.",
    )
    .audited("audit.export", "organisation")
    .streams("application/x-ndjson");
    type Path = ();
    type Params = decode::From<ExportQuery>;
    type Output = Streamed;
    type Access = InOrg<ReadAudit>;

    async fn run(
        cx: &Cx,
        may: Permit<ReadAudit, OrgId>,
        (): (),
        decode::From(query): Self::Params,
    ) -> Result<Reply<Streamed>> {
        let once = cx.gateway.exports.begin(*may.on())?;
        let mut act = cx.begin().await?;
        act.note("from", query.from.map(|at| at.to_string()));
        act.note("to", query.to.map(|at| at.to_string()));
        act.commit(may.on()).await?;
        // Each export ends with an event that is signed. Of a trail that the signer refuses there is no checkpoint, and all the
        // more reason to look at it.
        let signed = match jobs::checkpoints::take(&cx.gateway, *may.on()).await {
            Err(error) if error.kind() == Kind::Conflict => None,
            signed => signed?,
        };
        let (place, to) = trail::span(cx.store(), &may, query.from, query.to).await?;
        let first = checkpoints::first_from(cx.store(), *may.on(), to).await?;
        let checkpoint = signed.and(first).map(Checkpoint::from);
        let up_to =
            checkpoint.as_ref().map_or(Ok(to), |at| i64::try_from(at.sequence).map_err(Error::internal))?;
        let (pieces, made) = mpsc::channel(2);
        let export = Export {
            store: cx.store().clone(),
            org: *may.on(),
            place,
            up_to,
            checkpoint,
            pieces,
            _once: once,
        };
        tokio::spawn(export.send());
        let made = futures::stream::unfold(made, async |mut made| Some((made.recv().await?, made)));
        Ok(Reply::of(Streamed(made.boxed())))
    }
}

/// Made apart from whoever reads it: one who stops reading holds nothing up for long.
struct Export {
    store: Store,
    org: OrgId,
    place: Place,
    up_to: i64,
    /// Of the last event.
    checkpoint: Option<Checkpoint>,
    pieces: mpsc::Sender<std::io::Result<Bytes>>,
    _once: Doing,
}

impl Export {
    async fn send(mut self) {
        if let Err(error) = self.all().await {
            tracing::warn!(org = %self.org, %error, "an export of an audit trail broke off");
            // The connection ends without the answer's end.
            let broken = Err(std::io::Error::other("the export broke off"));
            let _gone = self.pieces.send_timeout(broken, PATIENCE).await;
        }
    }

    async fn all(&mut self) -> Result<()> {
        if self.place.sequence > 0 {
            self.piece(&[After { after: self.place.clone() }]).await?;
        }
        let mut last = self.place.sequence;
        loop {
            let lines = trail::onwards(&self.store, self.org, last, self.up_to, BATCH).await?;
            let Some(end) = lines.last() else { break };
            last = end.sequence;
            self.piece(&lines).await?;
        }
        let checkpoint = self.checkpoint.take();
        self.piece(&[End { checkpoint }]).await
    }

    async fn piece<T: Serialize>(&self, lines: &[T]) -> Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line).map_err(Error::internal)?;
            text.push(b'\n');
        }
        let sent = self.pieces.send_timeout(Ok(text.into()), PATIENCE).await;
        sent.map_err(|_| Error::unavailable("nobody reads it any more"))
    }
}
