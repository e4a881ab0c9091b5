//! Bad habits of sidecars, to see what the allocator makes of them.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use tonic::Status;

use crate::message::{
    AllocateRequest, AllocateResponse, AllocatedIP, ListRequest, ListResponse, ReleaseRequest, ReleaseResponse,
    StatsRequest, StatsResponse,
};
use crate::server::Ipam;

/// What a sidecar does instead of what it should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Habit {
    /// It answers no Allocate and no Release.
    Hangs,
    /// The same, for Services of this name only.
    HangsFor(String),
    /// It refuses every Allocate and Release.
    Refuses,
    /// It refuses every Release.
    RefusesReleases,
    /// It gives everybody this address.
    Gives(String),
    /// It keeps allocations by pool and Service, like sidecars that are older than the fields for owners.
    ByName,
}

impl FromStr for Habit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once('=').unwrap_or((text, "")) {
            ("hang", "") => Self::Hangs,
            ("hang", name) => Self::HangsFor(name.to_owned()),
            ("refuse", "") => Self::Refuses,
            ("refuse-releases", "") => Self::RefusesReleases,
            ("give", address) if !address.is_empty() => Self::Gives(address.to_owned()),
            ("by-name", "") => Self::ByName,
            _ => {
                return Err("write hang, hang=SERVICE, refuse, refuse-releases, give=ADDRESS or by-name".to_owned());
            }
        })
    }
}

/// An IPAM with bad habits.
#[derive(Debug)]
pub struct Habitual<I> {
    inner: I,
    habits: Mutex<Vec<Habit>>,
}

impl<I> Habitual<I> {
    /// An IPAM with these habits.
    pub const fn new(inner: I, habits: Vec<Habit>) -> Self {
        Self { inner, habits: Mutex::new(habits) }
    }

    /// The IPAM without them.
    pub const fn inner(&self) -> &I {
        &self.inner
    }

    /// From now on it has these habits.
    pub fn set(&self, habits: Vec<Habit>) {
        *self.habits.lock().unwrap_or_else(PoisonError::into_inner) = habits;
    }

    fn has(&self, habit: &Habit) -> bool {
        self.habits.lock().unwrap_or_else(PoisonError::into_inner).contains(habit)
    }

    fn gives(&self) -> Option<String> {
        let habits = self.habits.lock().unwrap_or_else(PoisonError::into_inner);
        habits.iter().find_map(|habit| if let Habit::Gives(address) = habit { Some(address.clone()) } else { None })
    }

    async fn hang_or_refuse(&self, service: &str) -> Result<(), Status> {
        let name = service.rsplit_once('/').map_or(service, |(_, name)| name);
        if self.has(&Habit::Hangs) || self.has(&Habit::HangsFor(name.to_owned())) {
            std::future::pending::<()>().await;
        }
        if self.has(&Habit::Refuses) { Err(Status::permission_denied("locked by an operator")) } else { Ok(()) }
    }
}

impl<I: Ipam> Ipam for Habitual<I> {
    async fn allocate(&self, mut request: AllocateRequest) -> Result<AllocateResponse, Status> {
        self.hang_or_refuse(&request.service).await?;
        if let Some(ip) = self.gives() {
            return Ok(AllocateResponse { ips: vec![AllocatedIP { ip }] });
        }
        if self.has(&Habit::ByName) {
            (request.cluster, request.service_uid) = (String::new(), String::new());
        }
        self.inner.allocate(request).await
    }

    async fn release(&self, mut request: ReleaseRequest) -> Result<ReleaseResponse, Status> {
        self.hang_or_refuse(&request.service).await?;
        if self.has(&Habit::RefusesReleases) {
            return Err(Status::permission_denied("locked by an operator"));
        }
        if self.has(&Habit::ByName) {
            (request.cluster, request.service_uid) = (String::new(), String::new());
        }
        self.inner.release(request).await
    }

    async fn stats(&self, request: StatsRequest) -> Result<StatsResponse, Status> {
        let by_name = self.has(&Habit::ByName);
        let stats = self.inner.stats(request).await?;
        Ok(StatsResponse { keeps_owners: stats.keeps_owners && !by_name, ..stats })
    }

    async fn list(&self, request: ListRequest) -> Result<ListResponse, Status> {
        if self.has(&Habit::ByName) {
            return Err(Status::unimplemented("it keeps no owners"));
        }
        self.inner.list(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_have_names() {
        assert_eq!("hang=web".parse(), Ok(Habit::HangsFor("web".to_owned())));
        assert_eq!("refuse-releases".parse(), Ok(Habit::RefusesReleases));
        assert!("give=".parse::<Habit>().is_err() && "x".parse::<Habit>().is_err());
    }
}
