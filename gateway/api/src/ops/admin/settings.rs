//! The settings of the whole installation.

use domain::access::{self, Permit, Platform};
use domain::setting::{self, Setting};
use domain::{Result, Time};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::settings::{self, Stored};

use crate::access::Operators;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfSetting;

#[derive(Serialize, JsonSchema)]
pub struct SettingResponse {
    key: &'static str,
    /// What is in force.
    value: String,
    /// What is in force where nobody set anything.
    default: &'static str,
    /// What the value may be.
    takes: &'static str,
    description: &'static str,
    /// The user who set it; absent: it is at its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Time>,
}

impl SettingResponse {
    fn new(setting: &'static Setting, stored: Option<&Stored>) -> Self {
        Self {
            key: setting.key,
            value: stored.map_or_else(|| setting.default.to_owned(), |row| row.value.clone()),
            default: setting.default,
            takes: setting.takes.as_str(),
            description: setting.what,
            updated_by: stored.and_then(|row| row.updated_by.clone()),
            updated_at: stored.map(|row| row.updated_at),
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct SettingsListResponse {
    settings: Vec<SettingResponse>,
}

/// Every setting.
pub struct AdminListSettings;

impl Operation for AdminListSettings {
    const ROUTE: Route = Route::new(
        "adminListSettings",
        Method::GET,
        "/v1/admin/settings",
        200,
        "Every setting of the installation, at its default or as somebody set it. For its operators.",
    );
    type Path = ();
    type Params = ();
    type Output = SettingsListResponse;
    type Access = Operators<access::SeePlatform>;

    async fn run(
        cx: &Cx,
        _: Permit<access::SeePlatform, Platform>,
        (): (),
        (): (),
    ) -> Result<Reply<SettingsListResponse>> {
        let stored = settings::list(cx.store()).await?;
        let row = |setting: &Setting| stored.iter().find(|row| row.key == setting.key);
        let all = setting::ALL.into_iter().map(|setting| SettingResponse::new(setting, row(setting)));
        Ok(Reply::of(SettingsListResponse { settings: all.collect() }))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct UpdateSettingRequest {
    /// As text, whatever its type.
    value: String,
}

/// Sets a setting.
pub struct AdminUpdateSetting;

impl Operation for AdminUpdateSetting {
    const ROUTE: Route = Route::new(
        "adminUpdateSetting",
        Method::PUT,
        "/v1/admin/settings/{key}",
        200,
        "Sets a setting of the installation; every gateway follows within a second. For owners and admins of its \
         operators.",
    )
    .audited("setting.update", "setting");
    type Path = OfSetting;
    type Params = decode::From<UpdateSettingRequest>;
    type Output = SettingResponse;
    type Access = Operators<access::ManageSettings>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ManageSettings, Platform>,
        path: OfSetting,
        decode::From(new): Self::Params,
    ) -> Result<Reply<SettingResponse>> {
        let setting = Setting::named(&path.key)?;
        setting.check(&new.value)?;
        let mut act = cx.begin().await?;
        let stored = settings::set(&mut act, &may, setting, &new.value, cx.now()).await?;
        act.note("value", new.value);
        act.commit(setting.key).await?;
        cx.gateway.installation.forget().await;
        Ok(Reply::of(SettingResponse::new(setting, Some(&stored))))
    }
}

/// Puts a setting back to its default.
pub struct AdminDeleteSetting;

impl Operation for AdminDeleteSetting {
    const ROUTE: Route = Route::new(
        "adminDeleteSetting",
        Method::DELETE,
        "/v1/admin/settings/{key}",
        204,
        "Puts a setting of the installation back to its default. For owners and admins of its operators.",
    )
    .audited("setting.reset", "setting");
    type Path = OfSetting;
    type Params = ();
    type Output = ();
    type Access = Operators<access::ManageSettings>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ManageSettings, Platform>,
        path: OfSetting,
        (): (),
    ) -> Result<Reply<()>> {
        let setting = Setting::named(&path.key)?;
        let mut act = cx.begin().await?;
        settings::unset(&mut act, &may, setting).await?;
        act.note("value", setting.default);
        act.commit(setting.key).await?;
        cx.gateway.installation.forget().await;
        Ok(Reply::of(()))
    }
}
