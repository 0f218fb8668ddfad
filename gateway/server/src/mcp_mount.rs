//! MCP, beside REST on the same router and within the same limits.

use std::net::SocketAddr;
use std::sync::Arc;

use api::problem;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use mcp::Door;

use crate::rest::{answer, read};

pub fn mount(door: Door) -> MethodRouter {
    let door = Arc::new(door);
    any(async move |peer: ConnectInfo<SocketAddr>, request: Request| serve(&door, peer, request).await)
}

async fn serve(door: &Door, peer: ConnectInfo<SocketAddr>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match read(body).await {
        Ok(body) => door.serve(Request::from_parts(parts, body), Some(peer.0.ip())).await.map(Body::new),
        Err(error) => answer(problem(&error)),
    }
}
