//! Calls of an application's packer of rucksacks, which may panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::model::{ContainerId, Printable};

/// A value that an application attaches to a container.
pub type Rucksack = Arc<dyn Any + Send + Sync>;

/// Calls an application's packer for a container. If the packer panics, the container gets no rucksack, and an error is
/// logged.
pub fn pack(id: &ContainerId, packer: impl FnOnce() -> Option<Rucksack>) -> Option<Rucksack> {
    catch_unwind(AssertUnwindSafe(packer)).unwrap_or_else(|panic| {
        let error = message(&*panic);
        tracing::error!(id = %Printable(id), error, "the packer panicked: the container has no rucksack");
        None
    })
}

/// Returns the message of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    let message = panic.downcast_ref::<&str>().copied();
    message.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_one_rucksack() {
        let id = ContainerId::from("a");
        let packed = pack(&id, || Some(Arc::new(7)));
        assert_eq!(packed.and_then(|packed| packed.downcast_ref::<i32>().copied()), Some(7));
        assert!(pack(&id, || panic!("scripted panic")).is_none());
    }

    #[test]
    fn the_message_of_a_panic_is_what_it_was_given() {
        let message = |panic: Box<dyn Any + Send>| message(&*panic).to_owned();
        let texts = [message(Box::new("text")), message(Box::new("text".to_owned())), message(Box::new(7))];
        assert_eq!(texts, ["text", "text", "no message"]);
    }
}
