//! One workload's TAP. `vrouterd` makes it, down, and keeps it as long as it wants its vif; the workload gets the link.
//!
//! A TAP that has left this namespace is known by its alias, which holds node and workload. One that is where it does not
//! belong is deleted, for `vrouterd` then makes another.

use super::link::{Links, alias, tap_owner};
use super::pair::{AttachError, Made};
use super::place::{Place, remove_wherever};
use crate::config::Workload;
use crate::desired::Attachment;

/// Brings a workload's TAP to its place and sets what differs, or says that there is none yet.
pub(super) async fn attach(
    links: &Links,
    node: &str,
    workload: &Workload,
    attachment: &Attachment,
) -> Result<Made, AttachError> {
    let place = Place::of(workload)?;
    let inside = place.vacate(links, node, workload, attachment).await?;
    let mark = alias(&tap_owner(node)?, &workload.name);
    let inside = match inside {
        Some(inside) if inside.is_tap && inside.alias == mark => Some(inside),
        Some(_) => return Err(AttachError::occupied(workload)),
        None => None,
    };
    let fresh = match links.find(&attachment.device).await? {
        Some(host) if host.is_tap => Some(host),
        // The pair it had before: it keeps the name from the TAP.
        Some(host) => {
            links.remove(&host).await?;
            None
        }
        None => None,
    };
    let made = match (fresh, inside) {
        (Some(fresh), inside) => {
            if let Some(former) = inside {
                place.remove(former).await?;
            }
            links.mark(&fresh, mark).await?;
            links.hand_over(&fresh, place.namespace(), &workload.interface).await?;
            Made::New
        }
        (None, Some(_)) => Made::Kept,
        (None, None) => {
            remove_wherever(&mark).await?;
            return Ok(Made::Awaited);
        }
    };
    place.configure(workload, attachment.mtu).await?;
    Ok(made)
}
