//! A client of `GET /v1/events`.

use std::time::Duration;

use reqwest::Response;
use serde_json::Value;

use crate::beside::Beside;
use crate::world::World;

/// An open stream.
pub struct Listener {
    response: Response,
    text: String,
}

/// One event of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub id: String,
    pub event: String,
    pub data: Value,
}

impl Listener {
    pub(crate) async fn open(http: &reqwest::Client, base: &str, token: &str, after: Option<&str>) -> Self {
        let mut request =
            http.get(format!("{base}/v1/events")).bearer_auth(token).header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event; `None`: the stream has ended. Heartbeats are passed over.
    pub async fn next(&mut self) -> Option<Told> {
        tokio::time::timeout(Duration::from_secs(20), self.read())
            .await
            .expect("no event, and no end, in 20 s")
    }

    /// The next event, which is this.
    pub async fn hears(&mut self, event: &str) -> Told {
        let told = self.next().await.unwrap_or_else(|| panic!("the stream has ended before {event}"));
        assert_eq!(told.event, event, "{told:?}");
        told
    }

    /// Whether nothing comes within this time. What comes later is still there.
    pub async fn is_silent(&mut self, within: Duration) -> bool {
        tokio::time::timeout(within, self.read()).await.is_err()
    }

    async fn read(&mut self) -> Option<Told> {
        loop {
            while let Some((piece, rest)) = self.text.split_once("\n\n") {
                let (piece, rest) = (piece.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    piece.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned())
                };
                if let (Some(id), Some(event), Some(data)) = (field("id:"), field("event:"), field("data:")) {
                    return Some(Told { id, event, data: serde_json::from_str(&data).unwrap() });
                }
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl World {
    /// Opens a stream of events: from now on, or after an event.
    pub async fn listen(&self, token: &str, after: Option<&str>) -> Listener {
        Listener::open(&self.http, &self.base, token, after).await
    }
}

impl Beside<'_> {
    /// Opens a stream of events at this gateway.
    pub async fn listen(&self, token: &str, after: Option<&str>) -> Listener {
        Listener::open(&self.world.http, &self.base, token, after).await
    }
}
