//! A device registers in IMS, is refreshed, goes, or its time is over.
//!
//! Source: OMA CPM 2.1 change requests, CPM-MLD-035; `rules.md` 3.6.0 table A, TM-6, R-1, R-5, R-7,
//! P-17; N-6.

use super::{Ignored, Step};
use crate::domain::address::{Address, Home};
use crate::domain::event::Event;
use crate::domain::evolve::KNOWN_FOR;
use crate::domain::input::{ImsDeregistered, ImsRegistered, Registration};
use crate::domain::reachability::{Caps, DeviceId, DeviceName, Stamp};
use crate::domain::time::Timestamp;
use crate::domain::user::Device;

impl Step<'_> {
    /// Table A, "a contact registers, initial" and "refreshed".
    pub(super) fn ims_registered(&mut self, told: &ImsRegistered<'_>) -> Result<(), Ignored> {
        let name = DeviceName::of(told.device.as_ref(), &self.user.address);
        let id = name.id();
        let stamp = Stamp::of(&self.told, true).with_dialog(told.call_id.as_deref(), told.cseq);
        self.check_newer(id, &stamp)?;
        let at = self.told.clamped(self.policy);
        if told.expires_at <= self.told.time {
            self.unbind(name, Some(stamp), at);
            return Ok(());
        }
        self.identify(told);
        let caps = told.features.as_ref().map(|tags| Caps::of(tags.iter().map(AsRef::as_ref)));
        let primary = told.device.as_ref().and_then(|device| device.primary);
        let profile = told.profile.as_deref().map(Box::from);
        let known = self.user.device(id);
        let bound = known.and_then(|device| self.view().bound(device).cloned());
        let initial = match told.change {
            Registration::Initial => true,
            Registration::Refreshed => false,
            Registration::Unknown => bound.is_none(),
        };
        if let (false, Some(contact)) = (initial, &bound) {
            if contact.suspect {
                self.moved(at);
            }
            let (cpm, expires) = (told.cpm_capable, Some(told.expires_at));
            let d = name.to_string().into();
            let f = Some(stamp);
            self.emit(Event::ContactRefreshed { d, at, expires, caps, cpm, profile, primary, f });
            return Ok(());
        }
        let settled = match (&bound, initial) {
            // A contact still in settle keeps its own.
            (Some(contact), true) if contact.settled_at > self.now => contact.settled_at,
            (_, true) => at + self.policy.settle,
            (_, false) => at,
        };
        self.moved(at);
        self.fresh = Some(id);
        self.emit(Event::ContactBound {
            d: name,
            initial,
            at,
            settled,
            expires: told.expires_at,
            caps,
            cpm: told.cpm_capable,
            profile,
            primary,
            f: stamp,
        });
        Ok(())
    }

    /// R-5 for a device; what is older than we remember devices says nothing any more (L-11).
    fn check_newer(&self, id: DeviceId, stamp: &Stamp) -> Result<(), Ignored> {
        if stamp.time + KNOWN_FOR <= self.at {
            return Err(Ignored::TooOld);
        }
        let tolerance = self.policy.clock_tolerance;
        match self.user.device(id) {
            Some(known) if !stamp.is_newer_than(&known.last, tolerance) => Err(Ignored::NotNewer),
            _ => Ok(()),
        }
    }

    /// What a registration says of the user's numbers: the SIM, and a number for a user known
    /// by another address (ID-2).
    fn identify(&mut self, told: &ImsRegistered<'_>) {
        let imsi: Option<Box<str>> = told.imsi.as_deref().map(Box::from);
        let swapped = imsi.is_some() && self.user.imsi.is_some() && imsi != self.user.imsi;
        if swapped {
            self.sim_swapped();
        }
        let number = match self.user.address {
            Address::Tel(_) => None,
            Address::Sip(_) => told.aliases.iter().find_map(|alias| {
                match Address::parse(alias, &Home::default()) {
                    Ok(Address::Tel(number)) => Some(number),
                    Ok(Address::Sip(_)) | Err(_) => None,
                }
            }),
        };
        let news_of_number = number.is_some() && number != self.user.alias_msisdn;
        if imsi.as_ref().is_some_and(|imsi| Some(imsi) != self.user.imsi.as_ref()) || news_of_number
        {
            self.emit(Event::Identified { imsi, msisdn: number });
        }
    }

    /// Table A, "a contact de-registers". Legs that run go on.
    pub(super) fn ims_deregistered(&mut self, told: &ImsDeregistered<'_>) -> Result<(), Ignored> {
        let stamp = Stamp::of(&self.told, false).with_dialog(told.call_id.as_deref(), told.cseq);
        let at = self.told.clamped(self.policy);
        if let Some(device) = &told.device {
            let name = DeviceName::of(Some(device), &self.user.address);
            self.check_newer(name.id(), &stamp)?;
            self.unbind(name, Some(stamp), at);
            return Ok(());
        }
        let all: Vec<DeviceName> = (self.user.devices.iter())
            .filter(|device| device.contact.is_some())
            .filter(|device| self.check_newer(device.id, &stamp).is_ok())
            .map(|device| device.name.clone())
            .collect();
        if all.is_empty() {
            return Err(Ignored::NotNewer);
        }
        all.into_iter().for_each(|name| self.unbind(name, Some(stamp), at));
        Ok(())
    }

    /// T_reg_expiry: de-registered at the end of its time, as of that instant.
    pub(super) fn contact_expired(&mut self, id: DeviceId, at: Timestamp) {
        if let Some(name) = self.user.device(id).map(|device| device.name.clone()) {
            self.unbind(name, None, at);
        }
    }

    /// The binding is over. Had it settled, was it not Suspect, and might it take CPM, then IP is lost
    /// as of then (TM-6 b); a radio blip within the settle moves nothing.
    fn unbind(&mut self, name: DeviceName, f: Option<Stamp>, at: Timestamp) {
        let device = self.user.device(name.id());
        let contact = device.and_then(|device| device.contact.as_ref());
        let lost = contact.is_some_and(|contact| {
            contact.may_take_cpm() && contact.settled_at <= at && !contact.suspect
        });
        let bound = contact.is_some();
        let name = device.map_or(name, |device| device.name.clone());
        if bound {
            self.moved(at);
        }
        self.emit(Event::ContactLost { d: name, at, f });
        if lost {
            self.ip_lost(at);
        }
    }

    /// A request or IMDN of a device: a sign of life, without a new expiry (3.4).
    pub(super) fn seen(&mut self, id: DeviceId, at: Timestamp) {
        let Some((d, suspect)) = self.user.device(id).and_then(|device: &Device| {
            Some((super::key(device), device.contact.as_ref()?.suspect))
        }) else {
            return;
        };
        if suspect {
            self.moved(at);
        }
        self.emit(Event::ContactRefreshed {
            d,
            at,
            expires: None,
            caps: None,
            cpm: None,
            profile: None,
            primary: None,
            f: None,
        });
    }
}
