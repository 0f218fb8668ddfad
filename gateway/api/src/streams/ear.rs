//! One who waits for news of one thing, within a request.

use std::sync::Arc;

use domain::Result;
use domain::approval::Approval;
use store::events::Told;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::Place;
use crate::cx::Cx;
use crate::{authenticate, gate};

/// Takes a stream's place while it lives.
pub struct Ear {
    news: broadcast::Receiver<Arc<Told>>,
    closing: watch::Receiver<bool>,
    _place: Place,
}

/// Begins to listen. Look only afterwards at what there is: then nothing is missed.
///
/// # Errors
/// `TooManyRequests` where too many listen.
pub fn listen(cx: &Cx) -> Result<Ear> {
    let streams = &cx.gateway.streams;
    let principal = cx.caller()?.principal();
    let place = streams.place(principal.id, principal.org)?;
    Ok(Ear { news: streams.news.subscribe(), closing: streams.closing.subscribe(), _place: place })
}

impl Ear {
    /// Returns when something is told of the approval, or may have been, or no more will be.
    pub async fn hears_of(&mut self, approval: &Approval) {
        let id = approval.id.to_string();
        loop {
            let told = tokio::select! {
                told = self.news.recv() => told,
                _ = self.closing.wait_for(|closing| *closing) => return,
            };
            match told {
                Ok(told) if told.org == approval.org && told.data.contains(&id) => return,
                Ok(_) => {}
                Err(RecvError::Lagged(_) | RecvError::Closed) => return,
            }
        }
    }

    pub fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

/// Whoever has waited is looked at as at the beginning.
pub async fn still_let_in(cx: &Cx) -> Result<()> {
    let caller = authenticate::still(&cx.gateway, cx.caller()?).await?;
    let principal = caller.principal();
    gate::pass(&cx.gateway, principal.id, principal.org, cx.address).await
}
