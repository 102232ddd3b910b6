//! Being told of changes: one stream of server-sent events over one session.

use crate::error::ControlError;
use crate::session::Session;
use crate::sse::{Event, Reader};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a stream may be silent: the device gives a sign of life every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// What to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// One property: its present value first, then every change.
    Property(String),
    /// All properties that the person may observe.
    Properties,
    /// One event.
    Event(String),
    /// All events that the person may subscribe to.
    Events,
}

impl Observed {
    fn path(&self) -> String {
        match self {
            Self::Property(name) => format!("/properties/{name}"),
            Self::Properties => "/properties".to_owned(),
            Self::Event(name) => format!("/events/{name}"),
            Self::Events => "/events".to_owned(),
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Which property or event.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// A stream of changes. Dropping it together with its session ends it.
#[derive(Debug)]
pub struct Observation<'a> {
    body: Incoming,
    reader: Reader,
    waiting: VecDeque<Event>,
    _session: &'a mut Session,
}

impl Session {
    /// Asks to be told of changes. The session is taken until the observation is dropped.
    ///
    /// # Errors
    /// As [`Session::describe`].
    pub async fn observe(&mut self, what: &Observed) -> Result<Observation<'_>, ControlError> {
        let body = self.stream(&what.path()).await?;
        Ok(Observation {
            body,
            reader: Reader::default(),
            waiting: VecDeque::new(),
            _session: self,
        })
    }
}

impl Observation<'_> {
    /// The next change; none when the device has ended the stream: it is going, or the person may not any more. To
    /// observe again tells which.
    ///
    /// # Errors
    /// [`ControlError::TimedOut`] when the device gives no sign of life, [`ControlError::Protocol`].
    pub async fn next(&mut self) -> Result<Option<Told>, ControlError> {
        let broken = |text: &str| ControlError::Protocol(text.to_owned());
        loop {
            if let Some(event) = self.waiting.pop_front() {
                let value = serde_json::from_str(&event.data)
                    .map_err(|error| ControlError::Protocol(error.to_string()))?;
                return Ok(Some(Told { name: event.kind, value }));
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| ControlError::TimedOut)? else { return Ok(None) };
            let frame = frame.map_err(|error| ControlError::Protocol(error.to_string()))?;
            let Some(bytes) = frame.data_ref() else { continue };
            let events = self.reader.read(bytes).map_err(|_| broken("an event is too long"))?;
            self.waiting.extend(events);
        }
    }
}
