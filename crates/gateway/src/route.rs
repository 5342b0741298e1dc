//! Whether the outside world may be reached.
//!
//! Decided before anything is sent, from the generation's environment and the configuration, and it fails closed: a
//! drill copy without a recorder sends nothing, and a production system never sends to one. Where in the outside world
//! messages may go is `domain::egress`'.

use channels::Route;
use domain::channel::DestinationError;
use domain::egress::Egress;
use store::Environment;

/// The configuration does not fit the environment. What to do stands in the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("this system is a drill copy and may not reach real destinations; set gateway.redirect_to to a recorder")]
    DrillWithoutRecorder,
    #[error("gateway.redirect_to is set in production, where messages must reach their destinations; remove it")]
    RedirectInProduction,
    #[error("gateway.redirect_to is not a destination; correct it")]
    NotADestination(#[source] DestinationError),
}

/// # Errors
/// If the gateway must not start.
pub fn route(environment: Environment, redirect_to: Option<&str>, egress: &Egress) -> Result<Route, RouteError> {
    match (environment, redirect_to) {
        (Environment::Production, None) => Ok(Route::Direct(egress.clone())),
        (Environment::Production, Some(_)) => Err(RouteError::RedirectInProduction),
        (Environment::Drill, None) => Err(RouteError::DrillWithoutRecorder),
        (Environment::Drill, Some(to)) => to.parse().map(Route::Redirected).map_err(RouteError::NotADestination),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_copy_takes_a_recorder_and_production_takes_none() {
        let recorder = Some("http://127.0.0.1:9/");
        let route = |environment, redirect_to| route(environment, redirect_to, &Egress::default());
        assert!(matches!(route(Environment::Production, None), Ok(Route::Direct(_))));
        assert_eq!(route(Environment::Production, recorder).unwrap_err(), RouteError::RedirectInProduction);
        assert_eq!(route(Environment::Drill, None).unwrap_err(), RouteError::DrillWithoutRecorder);
        assert!(matches!(route(Environment::Drill, recorder), Ok(Route::Redirected(_))));
        assert!(matches!(route(Environment::Drill, Some("sink")), Err(RouteError::NotADestination(_))));
    }
}
