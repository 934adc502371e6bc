//! What a change of the model means outside the tables.

use std::collections::BTreeSet;

use tables::{Key, VifId, VrfId};

/// The underlay's VRF: its host routes to the host itself are the local tunnel endpoints.
pub(crate) const FABRIC: VrfId = VrfId(0);

/// What to look at again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Vifs that came, went or changed.
    pub(crate) vifs: BTreeSet<VifId>,
    /// Tunnel destinations may have come or gone.
    pub(crate) tunnels: bool,
    /// The local tunnel endpoints may differ.
    pub(crate) endpoints: bool,
}

impl Touched {
    /// Takes note of objects that changed.
    pub(crate) fn note(&mut self, keys: &[Key]) {
        for key in keys {
            match key {
                Key::Vif(id) => {
                    self.vifs.insert(*id);
                }
                Key::NextHop(_) => {
                    self.tunnels = true;
                    self.endpoints = true;
                }
                Key::Inet(vrf, _) | Key::Inet6(vrf, _) => self.endpoints |= *vrf == FABRIC,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tables::NhId;

    use super::*;

    #[test]
    fn tenant_routes_touch_nothing_outside() {
        let mut touched = Touched::default();
        let prefix = "10.0.0.0/8".parse().unwrap();
        touched.note(&[Key::Inet(VrfId(1), prefix)]);
        assert_eq!(touched, Touched::default());
        touched.note(&[Key::Inet(FABRIC, prefix)]);
        assert!(touched.endpoints && !touched.tunnels);
        touched.note(&[Key::NextHop(NhId(7)), Key::Vif(VifId(3))]);
        assert!(touched.tunnels && touched.vifs.contains(&VifId(3)));
    }
}
