//! Whoever asks for one certificate while others do shares a turn with them:
//!
//! ```text
//!  issue ─► queue ─► whoever comes first issues for all that wait, in one turn, and answers each
//! ```

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{Ask, Issued, issue_all};
use crate::authority::Core;
use crate::error::AuthorityError;

/// The most certificates of one turn: what is lost in a kill, and how long another process waits for its turn.
const MAX_GROUP: usize = 256;

/// Those who wait, and the right to issue for them.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    ask: Ask,
    answer: oneshot::Sender<Result<Issued, AuthorityError>>,
}

/// Issues in the nine steps, together with whoever asks at the same time.
pub(crate) async fn issue(core: &Core, ask: Ask) -> Result<Issued, AuthorityError> {
    let (answer, mut answered) = oneshot::channel();
    core.queue.add(Waiting { ask: ask.clone(), answer });
    let turn = core.queue.turn.lock().await;
    loop {
        match answered.try_recv() {
            Ok(answer) => return answer,
            Err(TryRecvError::Empty) => core.queue.issue_group(core).await,
            Err(TryRecvError::Closed) => break,
        }
    }
    // The machine failed for the group, perhaps by one of it: asked alone, each hears why.
    drop(turn);
    let mut answers = issue_all(core, vec![(ask, None)]).await?;
    answers.pop().ok_or(AuthorityError::Worker)?
}

impl Queue {
    fn add(&self, one: Waiting) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    }

    async fn issue_group(&self, core: &Core) {
        let (asks, mut answers): (Vec<_>, Vec<_>) =
            self.next_group().into_iter().map(|one| ((one.ask, None), one.answer)).unzip();
        let issued = match (issue_all(core, asks).await, answers.len()) {
            (Ok(issued), _) => issued,
            (Err(error), 1) => vec![Err(error)],
            // The next one would wait for it in vain as well.
            (Err(error @ (AuthorityError::Store(_) | AuthorityError::Ledger(_))), count) => {
                let error = Arc::new(error);
                (0..count).map(|_| Err(AuthorityError::Shared(Arc::clone(&error)))).collect()
            }
            // Their answers' other ends are dropped, which they hear.
            (Err(_), _) => return answers.clear(),
        };
        for (answer, issued) in answers.into_iter().zip(issued) {
            // Whoever has gone meanwhile gets the same certificate when asking again.
            let _ = answer.send(issued);
        }
    }

    /// Those who have waited longest and still do. The second of a subject or a key comes in a later turn: the first one's
    /// certificate may be its answer.
    fn next_group(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut subjects, mut keys) = (HashSet::new(), HashSet::new());
        let (mut group, mut later) = (Vec::new(), Vec::new());
        for one in waiting.drain(..).filter(|one| !one.answer.is_closed()) {
            let known = subjects.contains(&one.ask.subject) || keys.contains(&one.ask.spki_der);
            if known || group.len() == MAX_GROUP {
                later.push(one);
            } else {
                subjects.insert(one.ask.subject.clone());
                keys.insert(one.ask.spki_der.clone());
                group.push(one);
            }
        }
        *waiting = later;
        group
    }
}
