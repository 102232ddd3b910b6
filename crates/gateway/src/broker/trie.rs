//! Who subscribed to what: filters as a tree of levels, so that a publication finds its subscribers without asking each.
//!
//! ```text
//! things ─┬─ plug-1 ─── actions ─── +   ● plug-1
//!         └─ + ──────── properties ─ #  ● backend
//! ```
//! A walk visits at most the nodes that exist, at most [`countersign_model::topic::MAX_LEVELS`] deep.

use countersign_model::topic::{Filter, Topic};
use std::collections::HashMap;

/// Filters with what stands at each. `T` is compared for removal.
#[derive(Debug)]
pub(crate) struct Trie<T> {
    root: Node<T>,
    entries: usize,
}

#[derive(Debug)]
struct Node<T> {
    children: HashMap<Box<str>, Node<T>>,
    /// Behind `+`.
    any: Option<Box<Node<T>>>,
    /// Filters that end in `#` here.
    rest: Vec<T>,
    /// Filters that end here.
    here: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { children: HashMap::new(), any: None, rest: Vec::new(), here: Vec::new() }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.any.is_none()
            && self.rest.is_empty()
            && self.here.is_empty()
    }
}

impl<T: PartialEq> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::default(), entries: 0 }
    }
}

impl<T: PartialEq> Trie<T> {
    /// Puts `value` at the filter's pattern; once only, however often it is put.
    pub(crate) fn insert(&mut self, filter: &Filter, value: T) {
        let mut node = &mut self.root;
        let mut rest = false;
        for level in filter.levels() {
            match level {
                "#" => rest = true,
                "+" => node = node.any.get_or_insert_default(),
                name => node = node.children.entry(name.into()).or_default(),
            }
        }
        let list = if rest { &mut node.rest } else { &mut node.here };
        if !list.contains(&value) {
            list.push(value);
            self.entries += 1;
        }
    }

    /// Takes `value` away from the filter's pattern, and the branches that nothing needs any more.
    pub(crate) fn remove(&mut self, filter: &Filter, value: &T) -> bool {
        let levels: Vec<&str> = filter.levels().collect();
        let removed = Self::remove_below(&mut self.root, &levels, value);
        self.entries -= usize::from(removed);
        removed
    }

    fn remove_below(node: &mut Node<T>, levels: &[&str], value: &T) -> bool {
        let take = |list: &mut Vec<T>| {
            let at = list.iter().position(|have| have == value);
            at.map(|at| list.swap_remove(at)).is_some()
        };
        match levels {
            [] => take(&mut node.here),
            ["#"] => take(&mut node.rest),
            ["+", below @ ..] => {
                let Some(child) = node.any.as_mut() else { return false };
                let removed = Self::remove_below(child, below, value);
                if child.is_empty() {
                    node.any = None;
                }
                removed
            }
            [name, below @ ..] => {
                let Some(child) = node.children.get_mut(*name) else { return false };
                let removed = Self::remove_below(child, below, value);
                if child.is_empty() {
                    node.children.remove(*name);
                }
                removed
            }
        }
    }

    /// Calls `found` for every entry whose filter matches; an entry at several filters is called for each.
    pub(crate) fn matching(&self, topic: &Topic, mut found: impl FnMut(&T)) {
        let levels: Vec<&str> = topic.levels().collect();
        Self::walk(&self.root, &levels, topic.is_reserved(), &mut found);
    }

    fn walk(node: &Node<T>, levels: &[&str], reserved: bool, found: &mut impl FnMut(&T)) {
        if !reserved {
            node.rest.iter().for_each(&mut *found);
        }
        let Some((level, below)) = levels.split_first() else {
            node.here.iter().for_each(&mut *found);
            return;
        };
        if let Some(child) = node.children.get(*level) {
            Self::walk(child, below, false, found);
        }
        if let (Some(child), false) = (&node.any, reserved) {
            Self::walk(child, below, false, found);
        }
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.entries
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(levels: &'static [&'static str]) -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(levels), 1..5).prop_map(|l| l.join("/"))
    }

    fn filters() -> impl Strategy<Value = Filter> {
        texts(&["a", "b", "", "$s", "+", "#"]).prop_filter_map("no filter", |t| t.parse().ok())
    }

    fn topics() -> impl Strategy<Value = Topic> {
        texts(&["a", "b", "", "$s"]).prop_filter_map("no topic", |t| t.parse().ok())
    }

    proptest! {
        /// The reference model is the list of all filters, each asked in turn.
        #[test]
        fn finds_what_asking_each_filter_finds(
            steps in proptest::collection::vec((any::<bool>(), filters(), 0_u8..4), 0..40),
            asked in proptest::collection::vec(topics(), 1..8),
        ) {
            let mut trie = Trie::default();
            let mut model: Vec<(Filter, u8)> = Vec::new();
            for (add, filter, value) in steps {
                let known = model.iter().position(|have| have == &(filter.clone(), value));
                if add {
                    trie.insert(&filter, value);
                    if known.is_none() {
                        model.push((filter, value));
                    }
                } else {
                    prop_assert_eq!(trie.remove(&filter, &value), known.is_some());
                    if let Some(at) = known {
                        model.remove(at);
                    }
                }
            }
            prop_assert_eq!(trie.len(), model.len());
            for topic in asked {
                let mut found = Vec::new();
                trie.matching(&topic, |value| found.push(*value));
                let mut wanted: Vec<u8> =
                    model.iter().filter(|(f, _)| f.matches(&topic)).map(|(_, v)| *v).collect();
                found.sort_unstable();
                wanted.sort_unstable();
                prop_assert_eq!(found, wanted, "{}", topic);
            }
            for (filter, value) in &model {
                prop_assert!(trie.remove(filter, value));
            }
            prop_assert!(trie.root.is_empty(), "emptied branches are cut off");
        }
    }
}
