//! A client that costs next to nothing: HTTP/1.1 with keep-alive, requests made beforehand.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Before the measurement: caches fill, code warms up.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Request(Vec<u8>);

impl Request {
    pub fn get(path: &str, token: &str) -> Self {
        Self(
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n")
                .into_bytes(),
        )
    }

    pub fn post(path: &str, token: &str, body: &Value) -> Self {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             accept: application/json, text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self((head + &body).into_bytes())
    }
}

pub struct Measured {
    /// Sorted.
    latencies: Vec<Duration>,
    took: Duration,
}

impl Measured {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    pub fn percentile(&self, part: f64) -> Duration {
        let last = self.latencies.len() - 1;
        self.latencies[(last as f64 * part).round() as usize]
    }
}

/// Each connection asks again as soon as it is answered. Every answer must be a success.
pub async fn measure(
    server: SocketAddr,
    connections: usize,
    duration: Duration,
    request: impl Fn(usize) -> Request,
) -> Measured {
    let begun = Instant::now() + WARM_UP;
    let until = begun + duration;
    let tasks: Vec<_> = (0..connections)
        .map(|n| tokio::spawn(ask_again_and_again(server, request(n).0, begun, until)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    latencies.sort_unstable();
    assert!(!latencies.is_empty(), "not one answer in {duration:?}");
    Measured { latencies, took: duration }
}

async fn ask_again_and_again(
    server: SocketAddr,
    request: Vec<u8>,
    begun: Instant,
    until: Instant,
) -> Vec<Duration> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut latencies = Vec::new();
    loop {
        let asked = Instant::now();
        if asked >= until {
            return latencies;
        }
        stream.write_all(&request).await.unwrap();
        read_answer(&mut stream, &mut buffer).await;
        if asked >= begun {
            latencies.push(asked.elapsed());
        }
    }
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the server hung up");
        let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        let whole = end + 4 + length.expect("an answer without content-length");
        while buffer.len() < whole {
            assert!(stream.read_buf(buffer).await.unwrap() > 0, "the server hung up");
        }
        let text = String::from_utf8_lossy(buffer);
        assert!(text.starts_with("HTTP/1.1 20"), "{text}");
        return;
    }
}
