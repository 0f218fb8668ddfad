//! Refresh tokens, which there are none of.

use domain::{Error, Kind, Result};
use http::Method;

use crate::access::Public;
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};

/// Answers as the contract has it: a person logs in again, an agent exchanges its key again.
pub struct Refresh;

impl Operation for Refresh {
    const ROUTE: Route = Route::new(
        "refreshToken",
        Method::POST,
        "/v1/auth/refresh",
        200,
        "There are no refresh tokens: this answers 400, whatever is sent. Log in again, or exchange your key again.",
    );
    type Path = ();
    type Params = ();
    type Output = ();
    type Access = Public;

    async fn run(_: &Cx, (): (), (): (), (): ()) -> Result<Reply<()>> {
        Err(Error::new(Kind::Invalid, "Refresh tokens not yet implemented"))
    }
}
