//! Whether deliveries arrive: one for a test, and those that did not at once.

use domain::access::{Permit, SeeWebhooks};
use domain::{EventId, OrMissing as _, OrgId, Result, Time};
use http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use store::webhooks::{self, Trouble};

use crate::access::InOrg;
use crate::cx::Cx;
use crate::delivery;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfWebhook;

/// Deliveries that are shown.
const SHOWN: u32 = 100;

#[derive(Serialize, JsonSchema)]
pub struct WebhookTestResponse {
    delivered: bool,
    /// What it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Sends a webhook something.
pub struct TestWebhook;

impl Operation for TestWebhook {
    const ROUTE: Route = Route::new(
        "testWebhook",
        Method::POST,
        "/v1/webhooks/{webhook_id}/test",
        200,
        "Sends a webhook a test event now, whether it is active or not, and says what came of it.",
    )
    .audited("webhook.test", "webhook");
    type Path = OfWebhook;
    type Params = ();
    type Output = WebhookTestResponse;
    type Access = InOrg<SeeWebhooks>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeWebhooks, OrgId>,
        path: OfWebhook,
        (): (),
    ) -> Result<Reply<WebhookTestResponse>> {
        let hook = webhooks::find(cx.store(), &may, path.webhook_id).await?.or_missing("webhook")?;
        cx.begin().await?.commit(hook.id).await?;
        let id = EventId::new().to_string();
        let body = json!({ "id": id, "action": "webhook.test", "resource_type": "webhook", "resource_id": hook.id,
            "org_id": hook.org, "details": { "message": "This is a test." }, "created_at": cx.now() });
        let outcome = delivery::send(&cx.gateway, &hook, &id, &body).await?;
        let error = outcome.trouble();
        Ok(Reply::of(WebhookTestResponse { delivered: error.is_none(), status: outcome.status(), error }))
    }
}

#[derive(Serialize, JsonSchema)]
pub struct DeliveryResponse {
    event_id: String,
    sequence: i64,
    /// That failed.
    attempts: u64,
    /// `retrying`, `delivered` or `given_up`
    outcome: String,
    last_error: String,
    first_attempt_at: Time,
    last_attempt_at: Time,
}

impl From<Trouble> for DeliveryResponse {
    fn from(trouble: Trouble) -> Self {
        Self {
            event_id: trouble.event_id,
            sequence: trouble.sequence,
            attempts: trouble.attempts,
            outcome: trouble.outcome,
            last_error: trouble.last_error,
            first_attempt_at: trouble.first_attempt_at,
            last_attempt_at: trouble.last_attempt_at,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct DeliveriesResponse {
    /// The event that is looked at next.
    next_sequence: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_delivered_at: Option<Time>,
    deliveries: Vec<DeliveryResponse>,
}

/// What did not arrive at once.
pub struct ListDeliveries;

impl Operation for ListDeliveries {
    const ROUTE: Route = Route::new(
        "listDeliveries",
        Method::GET,
        "/v1/webhooks/{webhook_id}/deliveries",
        200,
        "How far a webhook has got, and the last 100 events that did not arrive at the first attempt, newest first.",
    );
    type Path = OfWebhook;
    type Params = ();
    type Output = DeliveriesResponse;
    type Access = InOrg<SeeWebhooks>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeWebhooks, OrgId>,
        path: OfWebhook,
        (): (),
    ) -> Result<Reply<DeliveriesResponse>> {
        let hook = webhooks::find(cx.store(), &may, path.webhook_id).await?.or_missing("webhook")?;
        let troubles = webhooks::troubles(cx.store(), &hook, SHOWN).await?;
        Ok(Reply::of(DeliveriesResponse {
            next_sequence: hook.progress.next_sequence,
            last_delivered_at: hook.last_delivered_at,
            deliveries: troubles.into_iter().map(DeliveryResponse::from).collect(),
        }))
    }
}
