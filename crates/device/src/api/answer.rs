//! The one place that maps outcomes to HTTP. Errors are problem details (RFC 9457).

use super::stream::Events;
use crate::gate::Failure;
use countersign_protocol::permit::device::Refusal;
use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What goes back.
#[derive(Debug)]
pub(super) enum Answer {
    /// A value.
    Json(Value),
    /// A Thing Description.
    Description(Value),
    /// Changes as they happen.
    Events(Events),
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
    /// Too many requests, refusals or streams of this subject or from this address.
    TooMany,
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
        let told = failure.told();
        match failure {
            Failure::Access(_) | Failure::Invite(_) => Self::Conflict(told),
            failure if failure.is_askers() => Self::Invalid(told),
            _ => Self::Failed(told),
        }
    }
}

impl Answer {
    /// Whether it counts among the asker's failures.
    pub(super) const fn is_failure(&self) -> bool {
        matches!(self, Self::Denied | Self::Invalid(_) | Self::TooLarge | Self::TooSlow)
    }

    pub(super) fn into_response(self) -> Response<Content> {
        let close = matches!(self, Self::TooLarge | Self::TooSlow);
        let (status, kind, content) = match self {
            Self::Json(value) => (StatusCode::OK, "application/json", text(&value)),
            Self::Description(value) => (StatusCode::OK, "application/td+json", text(&value)),
            Self::Events(events) => (StatusCode::OK, "text/event-stream", Content::Events(events)),
            Self::Done => {
                (StatusCode::NO_CONTENT, "application/json", Content::whole(Bytes::new()))
            }
            Self::Denied => problem(StatusCode::FORBIDDEN, "not permitted", None),
            Self::Invalid(why) => problem(StatusCode::BAD_REQUEST, "not accepted", Some(&why)),
            Self::Conflict(why) => problem(StatusCode::CONFLICT, "not accepted", Some(&why)),
            Self::Failed(why) => problem(StatusCode::INTERNAL_SERVER_ERROR, "not done", Some(&why)),
            Self::TooLarge => problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large", None),
            Self::TooSlow => problem(StatusCode::REQUEST_TIMEOUT, "the body came too slowly", None),
            Self::TooMany => problem(StatusCode::TOO_MANY_REQUESTS, "too many requests", None),
        };
        let mut response = Response::new(content);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn text(value: &Value) -> Content {
    Content::whole(Bytes::from(value.to_string()))
}

fn problem(
    status: StatusCode,
    title: &str,
    detail: Option<&str>,
) -> (StatusCode, &'static str, Content) {
    let mut problem = json!({ "title": title, "status": status.as_u16() });
    if let Some(detail) = detail {
        problem["detail"] = json!(detail);
    }
    (status, "application/problem+json", text(&problem))
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Content {
    /// All of it.
    Whole(Full<Bytes>),
    /// As it happens.
    Events(Events),
}

impl Content {
    fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Events(events) => events.poll(context).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
