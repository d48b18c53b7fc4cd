//! Forgetting hosts that publish no more.

use crate::client::{Client, Error, ErrorKind, Query, Txn};
use crate::records::{Key, host_prefix};

/// Deletes all that a host has published, so that its engines leave the fleets of all hubs. Returns how many
/// keys were deleted.
///
/// # Errors
///
/// If an agent publishes for the host: it would go on. As every call, for example if the user may not write.
pub async fn forget(client: &Client, host: &str) -> Result<usize, Error> {
    let prefix = client.config().url().prefix();
    let all = host_prefix(prefix, host);
    let page = client.range(&Query::prefix(&all).keys_only()).await?;
    let claim = Key::Claim { host: host.to_owned() }.below(prefix);
    let txn = Txn::new().if_created_at(&claim, 0).delete_prefix(&all);
    if !client.txn(&txn).await?.succeeded {
        let message = format!("an agent publishes for host {host}: end it first");
        return Err(Error::new(ErrorKind::Failed, message));
    }
    Ok(page.items.len())
}
