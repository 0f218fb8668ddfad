//! What MCP clients ask for, answered from the catalog. Nothing is kept between two requests.

use std::sync::Arc;

use api::{Gateway, Outbound, pipeline};
use domain::{Error, Kind};
use http::request::Parts;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest, CustomResult,
    ErrorCode, ErrorData, Implementation, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::Map;

use crate::door::Visit;
use crate::tools::{Listed, Tools};
use crate::{answer, arguments};

/// The listing of `list_secrets`, as a resource.
const SECRETS: &str = "vault://secrets";

const INSTRUCTIONS: &str = "Talon keeps secrets and signs transactions for you. list_secrets shows what you may read, \
    get_secret reads one; whoami tells what you may do. Never write a value into an answer, a file or a log. Signing keys \
    can't be read: submit_transaction uses them, within limits that people set. When something is refused, say so and \
    whom to ask; don't look for a way around it.";

#[derive(Clone)]
pub struct Server {
    gateway: Arc<Gateway>,
    tools: Arc<Tools>,
}

impl Server {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, tools: Arc::new(Tools::of_the_catalog()) }
    }

    async fn serve(
        &self,
        listed: &Listed,
        made: arguments::Made,
        context: &RequestContext<RoleServer>,
    ) -> Result<(Outbound, Option<(&'static str, String)>), ErrorData> {
        // The library drops no handler whose client has gone. What was begun goes on to its end by itself.
        let served =
            context.ct.run_until_cancelled(pipeline::serve(&self.gateway, &listed.entry, made.request));
        let gone = || ErrorData::internal_error("The client has hung up.", None);
        Ok((served.await.ok_or_else(gone)?, made.fresh))
    }
}

/// The HTTP request behind an MCP request, and who sent it.
fn behind(context: &RequestContext<RoleServer>) -> Result<(&Parts, &Visit), ErrorData> {
    let parts = context.extensions.get::<Parts>();
    let visit = parts.and_then(|parts| Some((parts, parts.extensions.get::<Visit>()?)));
    visit.ok_or_else(|| ErrorData::internal_error("no HTTP request", None))
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        let talon = Implementation::new("talon", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(talon).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let (_, visit) = behind(&context)?;
        Ok(ListToolsResult::with_all_items(self.tools.seen_by(&visit.visitor)))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (parts, visit) = behind(&context)?;
        let Some(listed) = self.tools.named(&call.name) else {
            return Ok(no_such_tool(&self.tools).into());
        };
        let given = call.arguments.unwrap_or_default();
        let made = match arguments::request(listed, given, &parts.headers, visit) {
            Ok(made) => made,
            Err(error) => return Ok(answer::refusal(&error).into()),
        };
        let (out, fresh) = self.serve(listed, made, &context).await?;
        Ok(answer::result(out, fresh).into())
    }

    /// A call whose arguments are no object is none to the library; a model is told all the same.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if request.method != "tools/call" {
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None));
        }
        let refusal =
            answer::refusal(&Error::invalid("arguments", "must be an object, and name a tool's name"));
        let refusal = serde_json::to_value(refusal);
        refusal.map(CustomResult::new).map_err(|e| ErrorData::internal_error(e.to_string(), None))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut secrets = Resource::new(SECRETS, "secrets");
        secrets.title = Some("Secrets".to_owned());
        secrets.description = Some("What you may read in the vault; never a value.".to_owned());
        secrets.mime_type = Some("application/json".to_owned());
        Ok(ListResourcesResult::with_all_items(vec![secrets]))
    }

    async fn read_resource(
        &self,
        asked: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let (parts, visit) = behind(&context)?;
        let listed = self.tools.named("list_secrets").filter(|_| asked.uri == SECRETS);
        let listed = listed.ok_or_else(|| {
            ErrorData::resource_not_found(
                format!("There is no such resource; {SECRETS} is the only one."),
                None,
            )
        })?;
        let made = arguments::request(listed, Map::new(), &parts.headers, visit).map_err(protocol_error)?;
        let (out, _) = self.serve(listed, made, &context).await?;
        let body = String::from_utf8(out.body).map_err(|e| ErrorData::internal_error(e.to_string(), None))?;
        if !out.status.is_success() {
            return Err(refused(&body));
        }
        let contents = ResourceContents::text(body, SECRETS).with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}

fn no_such_tool(tools: &Tools) -> CallToolResult {
    let names: Vec<&str> = tools.names().collect();
    CallToolResult::error(vec![ContentBlock::text(format!(
        "There is no such tool; these are: {}.",
        names.join(", ")
    ))])
}

/// A resource has no result that is an error: the protocol's own error carries the sentence.
fn refused(problem: &str) -> ErrorData {
    let problem: serde_json::Value = serde_json::from_str(problem).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("It could not be read.").to_owned();
    ErrorData::invalid_request(detail, None)
}

fn protocol_error(error: Error) -> ErrorData {
    match error.kind() {
        Kind::Invalid => ErrorData::invalid_params(error.detail().to_owned(), None),
        _ => ErrorData::invalid_request(error.detail().to_owned(), None),
    }
}
