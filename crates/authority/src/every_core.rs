//! Work that waits for no disk and no peer, on every core.

use crate::error::AuthorityError;

/// Does the work on all of these, off the async threads, and answers in their order. One alone is done at once.
pub(crate) async fn on_every_core<T, R>(
    items: Vec<T>,
    work: impl Fn(T) -> R + Send + Sync + 'static,
) -> Result<Vec<R>, AuthorityError>
where
    T: Send + 'static,
    R: Send + 'static,
{
    if items.len() <= 1 {
        return Ok(items.into_iter().map(work).collect());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let done = tokio::task::spawn_blocking(move || shared_out(items, cores, &work)).await;
    done.map_err(|_| AuthorityError::Worker)?
}

/// Threads of their own, which end with the work: the memory that it takes is given back then.
pub(crate) fn shared_out<T: Send, R: Send>(
    mut items: Vec<T>,
    threads: usize,
    work: &(impl Fn(T) -> R + Sync),
) -> Result<Vec<R>, AuthorityError> {
    let (count, share) = (items.len(), items.len().div_ceil(threads.max(1)).max(1));
    let mut shares = Vec::new();
    while !items.is_empty() {
        let rest = items.split_off(share.min(items.len()));
        shares.push(std::mem::replace(&mut items, rest));
    }
    std::thread::scope(|scope| {
        let do_share = |share: Vec<T>| move || share.into_iter().map(work).collect::<Vec<R>>();
        let working: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(do_share(share))).collect();
        let mut done = Vec::with_capacity(count);
        for one in working {
            done.extend(one.join().map_err(|_| AuthorityError::Worker)?);
        }
        Ok(done)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_come_in_order_whatever_the_number() {
        for count in [0, 1, 2, 3, 64, 1001] {
            let doubled = on_every_core((0..count).collect(), |number: u32| number * 2).await;
            assert_eq!(doubled.unwrap(), (0..count).map(|number| number * 2).collect::<Vec<_>>());
        }
    }
}
