//! A node that says what the test wants, byte for byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chains::{Node, Nodes};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// In the address of every fake node.
pub const KEY: &str = "s3cret-api-key";

pub enum Reply {
    /// A whole HTTP answer, after which the connection is closed. `"ID"` becomes the request's id.
    Raw(Vec<u8>),
    /// The head of an answer, then the byte `x` this many times, as fast as they are taken.
    Flood(String, usize),
    /// The head of an answer, then a byte every 100 ms for ever.
    Trickle(String),
    /// Nothing, for ever.
    Hang,
}

impl Reply {
    pub fn http(status: &str, kind: &str, body: &str) -> Self {
        let length = body.len();
        Self::Raw(
            format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
                .into(),
        )
    }

    pub fn json(body: &str) -> Self {
        Self::http("200 OK", "application/json", body)
    }

    pub fn result(result: Value) -> Self {
        Self::json(&json!({ "jsonrpc": "2.0", "id": "ID", "result": result }).to_string())
    }

    pub fn error(code: i64, message: &str) -> Self {
        Self::json(
            &json!({ "jsonrpc": "2.0", "id": "ID", "error": { "code": code, "message": message } })
                .to_string(),
        )
    }
}

impl Reply {
    fn to(self, id: &Value) -> Self {
        match self {
            Self::Raw(bytes) if bytes.windows(4).any(|window| window == b"\"ID\"") => {
                let (id, text) = (format!("{:<4}", id.to_string()), String::from_utf8(bytes).unwrap());
                Self::Raw(text.replace("\"ID\"", &id).into())
            }
            other => other,
        }
    }
}

pub struct Fake {
    pub node: Node,
    pub url: String,
    asked: Arc<AtomicUsize>,
}

impl Fake {
    /// `answer` gets each request's method and parameters.
    pub async fn start(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://user:{KEY}@{}/v3/{KEY}?apikey={KEY}", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let counter = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counter, answer) = (counter.clone(), answer.clone());
                tokio::spawn(async move {
                    let Some((request, stream)) = read(stream).await else { return };
                    counter.fetch_add(1, Ordering::SeqCst);
                    let reply = answer(request["method"].as_str().unwrap(), &request["params"]);
                    let reply = reply.to(&request["id"]);
                    // The client may have had enough and be gone.
                    let _ = write(stream, reply).await;
                });
            }
        });
        Self { node: Nodes::new().at(&url).unwrap(), url, asked }
    }

    /// How many requests came in.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn read(stream: TcpStream) -> Option<(Value, TcpStream)> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).await.ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    Some((serde_json::from_slice(&body).ok()?, reader.into_inner()))
}

async fn write(mut stream: TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Raw(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Reply::Flood(head, count) => {
            stream.write_all(head.as_bytes()).await?;
            let chunk = [b'x'; 64 * 1024];
            for _ in 0..count.div_ceil(chunk.len()) {
                stream.write_all(&chunk).await?;
            }
            stream.shutdown().await
        }
        Reply::Trickle(head) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
        Reply::Hang => std::future::pending().await,
    }
}
