//! An IMDN about a message we hold: from the user's client, or from the SMS gateway.
//!
//! Source: RFC 5438; `rules.md` T-31, A-9, P-16, P-19, P-21, R-3.

use super::{Ignored, Step};
use crate::domain::event::{Access, Event, LegEnd};
use crate::domain::failure::Class;
use crate::domain::input::{ImdnReceived, ReportedBy};
use crate::domain::reachability::{DeviceId, DeviceName};

/// What a disposition says of delivery.
enum Says {
    Delivered,
    Not,
    Nothing,
}

impl Step<'_> {
    /// T-31.
    pub(super) fn imdn_received(&mut self, imdn: &ImdnReceived<'_>) -> Result<(), Ignored> {
        let says = match imdn.disposition.to_ascii_lowercase().as_str() {
            "delivered" | "displayed" => Says::Delivered,
            "failed" | "error" | "forbidden" => Says::Not,
            _ => Says::Nothing,
        };
        let from = imdn.from.as_deref();
        match (imdn.reported_by, says) {
            (ReportedBy::Gateway, Says::Delivered) => {
                self.gateway_imdn(&imdn.message_id, from, true)
            }
            (ReportedBy::Gateway, Says::Not) => self.gateway_imdn(&imdn.message_id, from, false),
            (ReportedBy::Gateway, Says::Nothing) => Err(Ignored::NoChange),
            (ReportedBy::Client, says) => self.client_imdn(imdn, &says),
        }
    }

    /// A device that writes is there; what it writes ends the message by IP (P-16), or closes it to
    /// that device.
    fn client_imdn(&mut self, imdn: &ImdnReceived<'_>, says: &Says) -> Result<(), Ignored> {
        let aor = &self.user.address;
        let device = imdn.device.as_ref().map(|told| DeviceName::of(Some(told), aor).id());
        let at = self.told.clamped(self.policy);
        if let Some(device) = device {
            self.seen(device, at);
        }
        let places: Vec<u32> = (self.user.named(&imdn.message_id, imdn.from.as_deref()))
            .filter(|m| !m.legs.is_empty())
            .map(|m| m.place)
            .take(super::MOST_OF_ONE_ID)
            .collect();
        if places.is_empty() && self.events.is_empty() {
            let known = self.user.named(&imdn.message_id, imdn.from.as_deref()).next().is_some();
            return Err(if known { Ignored::Late } else { self.absent_message(&imdn.message_id) });
        }
        for place in places {
            if self.events.len() > super::ENOUGH_EVENTS / 2 {
                break;
            }
            match says {
                Says::Delivered => self.client_has_it(place, device),
                Says::Not => self.client_refused(place, device),
                Says::Nothing => {}
            }
        }
        Ok(())
    }

    /// A definite success by IP; of no named device, for all that it went to (P-21).
    fn client_has_it(&mut self, place: u32, device: Option<DeviceId>) {
        let Some(m) = self.user.message(place) else { return };
        let legs: Vec<_> = (m.legs.iter())
            .filter(|leg| device.is_none_or(|device| device == leg.device))
            .filter(|leg| leg.end != Some(LegEnd::Delivered))
            .map(|leg| (leg.device, leg.attempt))
            .collect();
        let took: Vec<DeviceId> = legs.iter().map(|(device, _)| *device).collect();
        self.ip_success(place, &took, self.observed());
        // where the primary is still owed it, this device is served.
        for (device, number) in legs {
            self.end_leg(place, number, device, LegEnd::Delivered.into(), self.observed());
            self.close_attempt(place, number, self.observed());
        }
    }

    /// A negative IMDN: a definite failure of that attempt, permanent for that device.
    fn client_refused(&mut self, place: u32, device: Option<DeviceId>) {
        let Some(m) = self.user.message(place) else { return };
        let legs: Vec<(DeviceId, u32)> = (m.legs.iter())
            .filter(|leg| device.is_none_or(|device| device == leg.device))
            .filter(|leg| {
                leg.end.is_none_or(|end| {
                    matches!(end, LegEnd::Accepted | LegEnd::Failed(Class::Unknown))
                })
            })
            .map(|leg| (leg.device, leg.attempt))
            .collect();
        let m = m.m();
        for (device, number) in legs {
            let parked = self.user.message(place).and_then(|m| m.parked);
            if parked == Some((Access::Cpm, number)) {
                self.emit(Event::Unparked { m: m.clone() });
            }
            let end = LegEnd::Failed(Class::Permanent);
            self.end_leg(place, number, device, end.into(), self.observed());
            self.close_attempt(place, number, self.observed());
        }
    }
}
