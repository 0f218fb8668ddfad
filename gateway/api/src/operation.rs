//! What an operation is: a type with its place, its access and its shapes. Everything else follows from it.

use std::borrow::Cow;

use bytes::Bytes;
use futures::stream::BoxStream;
use http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::access::Access;
use crate::cx::Cx;
use crate::decode::{FromPath, Params};
use crate::tool::Tool;
use domain::Result;

/// Where an operation is found and what it is called.
#[derive(Clone, Debug)]
pub struct Route {
    /// `getSecret`: unique; the OpenAPI operation id.
    pub id: &'static str,
    /// One sentence, for OpenAPI and MCP.
    pub summary: &'static str,
    pub method: Method,
    /// `/v1/vaults/{vault_id}/secrets/{path}`
    pub path: &'static str,
    /// The status of success.
    pub status: u16,
    /// The audit event of a success: action and kind of resource. Without one, an operation can't write.
    pub audit: Option<(&'static str, &'static str)>,
    /// The tool that it is over MCP, if it is one.
    pub tool: Option<Tool>,
    /// The media type of an answer that is sent as it is made ([`Streamed`]); `None`: JSON, as a whole.
    pub streams: Option<&'static str>,
}

impl Route {
    pub const fn new(
        id: &'static str,
        method: Method,
        path: &'static str,
        status: u16,
        summary: &'static str,
    ) -> Self {
        Self { id, summary, method, path, status, audit: None, tool: None, streams: None }
    }

    /// Names the audit event: `audited("vault.create", "vault")`.
    pub const fn audited(mut self, action: &'static str, resource: &'static str) -> Self {
        self.audit = Some((action, resource));
        self
    }

    /// Says that its answer is sent as it is made: `streams("text/event-stream")`.
    pub const fn streams(mut self, media_type: &'static str) -> Self {
        self.streams = Some(media_type);
        self
    }

    /// Makes it a tool, too.
    pub const fn tool(mut self, tool: Tool) -> Self {
        self.tool = Some(tool);
        self
    }
}

/// One operation of the API:
///
/// ```
/// use talon_api::operation::{Operation, Reply, Route};
/// struct Hello;
/// impl Operation for Hello {
///     const ROUTE: Route = Route::new("hello", http::Method::GET, "/v1/hello", 200, "Says hello.");
///     type Path = ();
///     type Params = ();
///     type Output = String;
///     type Access = talon_api::access::Public;
///     async fn run(_: &talon_api::Cx, _: (), _: (), _: ()) -> domain::Result<Reply<String>> {
///         Ok(Reply::of("hello".to_owned()))
///     }
/// }
/// ```
///
/// The same without its access does not build:
///
/// ```compile_fail
/// use talon_api::operation::{Operation, Reply, Route};
/// struct Hello;
/// impl Operation for Hello {
///     const ROUTE: Route = Route::new("hello", http::Method::GET, "/v1/hello", 200, "Says hello.");
///     type Path = ();
///     type Params = ();
///     type Output = String;
///     async fn run(_: &talon_api::Cx, _: (), _: (), _: ()) -> domain::Result<Reply<String>> {
///         Ok(Reply::of("hello".to_owned()))
///     }
/// }
/// ```
pub trait Operation: Sized + 'static {
    const ROUTE: Route;
    /// What the path's placeholders hold.
    type Path: FromPath + Send + Sync;
    /// The body's fields, or the query's on GET and DELETE.
    type Params: Params;
    type Output: JsonSchema + Send;
    /// Who may; there is no default.
    type Access: Access<Self::Path>;

    fn run(
        cx: &Cx,
        may: <Self::Access as Access<Self::Path>>::Granted,
        path: Self::Path,
        params: Self::Params,
    ) -> impl Future<Output = Result<Reply<Self::Output>>> + Send;
}

/// An answer: a body, and a status where it is not the route's own.
pub struct Reply<T> {
    pub status: Option<StatusCode>,
    pub body: T,
}

impl<T> Reply<T> {
    /// With the route's status.
    pub fn of(body: T) -> Self {
        Self { status: None, body }
    }

    pub fn with(status: StatusCode, body: T) -> Self {
        Self { status: Some(status), body }
    }
}

/// An answer that is sent as it is made. One that breaks off ends in an error of the connection's.
pub struct Streamed(pub(crate) BoxStream<'static, std::io::Result<Bytes>>);

impl JsonSchema for Streamed {
    fn schema_name() -> Cow<'static, str> {
        "Streamed".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// Shapes that a body or a query is read into.
pub trait Fields: DeserializeOwned + JsonSchema + Send {}
impl<T: DeserializeOwned + JsonSchema + Send> Fields for T {}
