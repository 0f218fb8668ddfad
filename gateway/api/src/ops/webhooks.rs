//! Webhooks: where an organisation is told what happens in it.

mod deliveries;
mod standing;

pub use deliveries::{ListDeliveries, TestWebhook};
pub use standing::switch_off;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::access::{EndWebhook, ManageWebhooks, Permit, SeeWebhooks};
use domain::webhook::{EventPattern, MOST, MOST_PATTERNS};
use domain::{
    Error, OrMissing as _, OrgId, PrincipalId, Result, Revealed, SecretText, Time, UserId, WebhookId,
};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use signer_protocol::webhook::MakeWebhookKey;
use store::webhooks::{self, Progress, Webhook};

use super::{OfWebhook, described, description};
use crate::access::InOrg;
use crate::cx::{Act, Cx};
use crate::decode::{self, NothingElse, Patch};
use crate::operation::{Operation, Reply, Route};

#[derive(Serialize, JsonSchema)]
pub struct WebhookResponse {
    id: WebhookId,
    url: String,
    /// `*`, `secret.*`, or actions.
    events: Vec<EventPattern>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    active: bool,
    /// Since when nothing was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_delivered_at: Option<Time>,
    created_by: UserId,
    created_at: Time,
    updated_at: Time,
}

impl From<&Webhook> for WebhookResponse {
    fn from(hook: &Webhook) -> Self {
        let failing_since = hook.progress.failing_since;
        Self {
            id: hook.id,
            url: hook.url.clone(),
            events: hook.events.clone(),
            description: hook.description.clone(),
            active: hook.active,
            failing_since,
            last_error: hook.last_error.clone(),
            next_attempt_at: failing_since.filter(|_| hook.active).map(|_| hook.progress.due_at),
            last_delivered_at: hook.last_delivered_at,
            created_by: hook.created_by,
            created_at: hook.created_at,
            updated_at: hook.updated_at,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct CreateWebhookRequest {
    /// An https address on the internet, without a user.
    url: String,
    /// `*`, `secret.*`, or actions such as `secret.read`: 1 to 50.
    events: Vec<EventPattern>,
    #[serde(default)]
    description: Option<String>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

#[derive(Serialize, JsonSchema)]
pub struct WebhookCreatedResponse {
    #[serde(flatten)]
    webhook: WebhookResponse,
    /// What deliveries are signed with: `whsec_` and 32 bytes in base64. It is shown this once.
    secret: Revealed,
}

/// Adds a webhook.
pub struct CreateWebhook;

impl Operation for CreateWebhook {
    const ROUTE: Route = Route::new(
        "createWebhook",
        Method::POST,
        "/v1/webhooks",
        201,
        "Has your organisation's events sent to an address, from now on, signed as Standard Webhooks are. Needs a login of your own.",
    )
    .audited("webhook.create", "webhook");
    type Path = ();
    type Params = decode::From<CreateWebhookRequest>;
    type Output = WebhookCreatedResponse;
    type Access = InOrg<ManageWebhooks>;

    async fn run(
        cx: &Cx,
        may: Permit<ManageWebhooks, OrgId>,
        (): (),
        decode::From(new): Self::Params,
    ) -> Result<Reply<WebhookCreatedResponse>> {
        let (url, events) = (address(cx, &new.url)?, patterns(new.events)?);
        let description = description(new.description)?;
        let PrincipalId::User(created_by) = may.by() else {
            return Err(Error::internal("an agent adds a webhook"));
        };
        let request = MakeWebhookKey { by: cx.for_signer()?, id: WebhookId::new() };
        let id = request.id;
        let made = cx.signer(async |signer, context| signer.make_webhook_key(context, request).await).await?;
        let now = cx.now();
        let progress = Progress {
            next_sequence: 0,
            attempts: 0,
            due_at: now,
            turn: 0,
            event_failing_since: None,
            failing_since: None,
        };
        let hook = Webhook {
            id,
            org: *may.on(),
            url,
            events,
            description,
            active: true,
            key: made.key,
            progress,
            last_error: None,
            last_delivered_at: None,
            created_by,
            created_at: now,
            updated_at: now,
        };
        let mut act = cx.begin().await?;
        standing::hold(&mut act, *may.on(), may.by()).await?;
        if webhooks::hold_count(&mut act, &may).await? >= MOST as u64 {
            return Err(Error::conflict(format!("There are {MOST} webhooks already; delete one.")));
        }
        webhooks::insert(&mut act, &may, &hook).await?;
        note(&mut act, &hook);
        act.commit(id).await?;
        let secret = SecretText::from(format!("whsec_{}", STANDARD.encode(made.secret.expose())));
        Ok(Reply::of(WebhookCreatedResponse { webhook: (&hook).into(), secret: Revealed::new(&secret) }))
    }
}

#[derive(Serialize, JsonSchema)]
pub struct WebhooksResponse {
    webhooks: Vec<WebhookResponse>,
}

/// The organisation's webhooks.
pub struct ListWebhooks;

impl Operation for ListWebhooks {
    const ROUTE: Route = Route::new(
        "listWebhooks",
        Method::GET,
        "/v1/webhooks",
        200,
        "Your organisation's webhooks, oldest first.",
    );
    type Path = ();
    type Params = ();
    type Output = WebhooksResponse;
    type Access = InOrg<SeeWebhooks>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeWebhooks, OrgId>,
        (): (),
        (): (),
    ) -> Result<Reply<WebhooksResponse>> {
        let all = webhooks::list(cx.store(), &may).await?;
        Ok(Reply::of(WebhooksResponse { webhooks: all.iter().map(WebhookResponse::from).collect() }))
    }
}

/// One webhook.
pub struct GetWebhook;

impl Operation for GetWebhook {
    const ROUTE: Route = Route::new(
        "getWebhook",
        Method::GET,
        "/v1/webhooks/{webhook_id}",
        200,
        "A webhook, and whether its deliveries arrive.",
    );
    type Path = OfWebhook;
    type Params = ();
    type Output = WebhookResponse;
    type Access = InOrg<SeeWebhooks>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeWebhooks, OrgId>,
        path: OfWebhook,
        (): (),
    ) -> Result<Reply<WebhookResponse>> {
        let hook = webhooks::find(cx.store(), &may, path.webhook_id).await?.or_missing("webhook")?;
        Ok(Reply::of((&hook).into()))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct UpdateWebhookRequest {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    events: Option<Vec<EventPattern>>,
    #[serde(default)]
    description: Patch<String>,
    /// One that was off goes on with what happens from now on.
    #[serde(default)]
    active: Option<bool>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Changes a webhook.
pub struct UpdateWebhook;

impl Operation for UpdateWebhook {
    const ROUTE: Route = Route::new(
        "updateWebhook",
        Method::PATCH,
        "/v1/webhooks/{webhook_id}",
        200,
        "Changes a webhook, and tries it at once. Needs a login of your own.",
    )
    .audited("webhook.update", "webhook");
    type Path = OfWebhook;
    type Params = decode::From<UpdateWebhookRequest>;
    type Output = WebhookResponse;
    type Access = InOrg<ManageWebhooks>;

    async fn run(
        cx: &Cx,
        may: Permit<ManageWebhooks, OrgId>,
        path: OfWebhook,
        decode::From(change): Self::Params,
    ) -> Result<Reply<WebhookResponse>> {
        let mut act = cx.begin().await?;
        standing::hold(&mut act, *may.on(), may.by()).await?;
        let mut hook =
            webhooks::take_to_change(&mut act, &may, path.webhook_id).await?.or_missing("webhook")?;
        if let Some(url) = &change.url {
            hook.url = address(cx, url)?;
        }
        if let Some(events) = change.events {
            hook.events = patterns(events)?;
        }
        hook.description = change.description.try_map(described)?.over(hook.description);
        hook.active = change.active.unwrap_or(hook.active);
        webhooks::update(&mut act, &may, &hook, cx.now()).await?;
        note(&mut act, &hook);
        act.note("active", hook.active);
        act.commit(hook.id).await?;
        (hook.progress.failing_since, hook.last_error, hook.updated_at) = (None, None, cx.now());
        Ok(Reply::of((&hook).into()))
    }
}

/// Deletes a webhook.
pub struct DeleteWebhook;

impl Operation for DeleteWebhook {
    const ROUTE: Route = Route::new(
        "deleteWebhook",
        Method::DELETE,
        "/v1/webhooks/{webhook_id}",
        204,
        "Deletes a webhook, and its key.",
    )
    .audited("webhook.delete", "webhook");
    type Path = OfWebhook;
    type Params = ();
    type Output = ();
    type Access = InOrg<EndWebhook>;

    async fn run(cx: &Cx, may: Permit<EndWebhook, OrgId>, path: OfWebhook, (): ()) -> Result<Reply<()>> {
        let mut act = cx.begin().await?;
        if !webhooks::delete(&mut act, &may, path.webhook_id).await? {
            return Err(Error::missing("webhook"));
        }
        act.commit(path.webhook_id).await?;
        Ok(Reply::of(()))
    }
}

fn address(cx: &Cx, url: &str) -> Result<String> {
    let checked = cx.gateway.egress.check(url).map_err(|rule| Error::invalid("url", rule))?;
    Ok(checked.into())
}

fn patterns(events: Vec<EventPattern>) -> Result<Vec<EventPattern>> {
    if (1..=MOST_PATTERNS).contains(&events.len()) {
        Ok(events)
    } else {
        Err(Error::invalid("events", format!("must have 1 to {MOST_PATTERNS} patterns; * is every event")))
    }
}

/// Its host alone: the rest of an address may hold a key.
fn note(act: &mut Act, hook: &Webhook) {
    let host = hook.url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    act.note("host", host);
    act.note("events", json!(hook.events));
}
