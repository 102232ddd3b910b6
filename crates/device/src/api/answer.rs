//! The one place that maps outcomes to HTTP.

use crate::functions::FunctionError;
use crate::gate::Failure;
use countersign_protocol::permit::device::Refusal;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

/// What goes back.
#[derive(Debug)]
pub(super) enum Answer {
    /// A value.
    Json(Value),
    /// Done, nothing to say.
    Done,
    /// The one answer to whoever may not, or asks for what is not there.
    Denied,
    /// The asker may, but what came with it does not fit.
    Invalid(String),
    /// The asker may, but it collides with a rule of the device.
    Conflict(String),
    /// The asker may; the device did not manage.
    Failed(String),
    /// The body is over its bound.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied(_) => Self::Denied,
            Refusal::Invalid(error) => Self::Invalid(error.to_string()),
        }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Function(FunctionError::Input(reason)) => Self::Invalid(reason),
            Failure::Function(other) => Self::Failed(other.to_string()),
            Failure::Access(error) => Self::Conflict(error.to_string()),
            Failure::Store(error) => {
                tracing::error!(%error, "local API");
                Self::Failed("the change could not be stored, and did not happen".to_owned())
            }
        }
    }
}

impl Answer {
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let close = matches!(self, Self::TooLarge | Self::TooSlow);
        let (status, body) = match self {
            Self::Json(value) => (200, Some(value)),
            Self::Done => (204, None),
            Self::Denied => (403, Some(json!({ "error": "not permitted" }))),
            Self::Invalid(reason) => (400, Some(json!({ "error": reason }))),
            Self::Conflict(reason) => (409, Some(json!({ "error": reason }))),
            Self::Failed(reason) => (500, Some(json!({ "error": reason }))),
            Self::TooLarge => (413, Some(json!({ "error": "the body is too large" }))),
            Self::TooSlow => (408, Some(json!({ "error": "the body came too slowly" }))),
        };
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let mut response = Response::new(Full::new(bytes));
        *response.status_mut() =
            hyper::StatusCode::from_u16(status).expect("the statuses above exist");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
