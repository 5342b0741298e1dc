//! What begins without a request is held to the rules as well.

use chrono::TimeDelta;
use domain::schedule::{NewTrigger, OverlapPolicy, TriggerSpec};

use super::*;
use crate::EnqueueError;
use crate::testing::World;

impl World {
    async fn allow_agents(&self, agents: &[&str]) -> OrgPolicy {
        let agents = Some(agents.iter().map(|agent| (*agent).to_owned()).collect());
        let policy = Policy { agents, ..Policy::default() };
        self.store.policy_put(self.org, &policy, &Expected::Anything, "role:test").await.unwrap()
    }
}

#[tokio::test]
async fn a_policy_reads_back_as_it_was_put() {
    let world = World::new().await;
    let patterns = |text: &str| Some(vec![text.parse().unwrap()]);
    let policy = Policy {
        agents: Some(vec!["scripted".into()]),
        token_days_max: Some(90),
        channel_hosts: patterns("*.hooks.example"),
        member_domains: patterns("example.org"),
    };
    assert_eq!(world.store.policy_get(world.org).await.unwrap(), OrgPolicy::default());
    let put = world.store.policy_put(world.org, &policy, &Expected::Anything, "role:test").await.unwrap();
    assert_eq!((&put.policy, world.store.policy_get(world.org).await.unwrap()), (&policy, put.clone()));
    let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    assert_eq!(world.store.policy_get(other).await.unwrap(), OrgPolicy::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_set_the_first_policy_at_once_one_is_told() {
    let world = World::new().await;
    let expected = Expected::OneOf(vec![OrgPolicy::default().version]);
    let put = |days: i64| {
        let policy = Policy { token_days_max: Some(days), ..Policy::default() };
        let (store, expected, org) = (world.store.clone(), expected.clone(), world.org);
        async move { store.policy_put(org, &policy, &expected, "role:test").await }
    };
    let answers = futures::future::join_all((1..=6).map(put)).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(ChangeError::Stale(_)))));
}

#[tokio::test]
async fn slots_of_a_workflow_whose_agent_is_not_allowed_are_skipped_and_say_why() {
    let world = World::new().await;
    let now = world.store.sources().now();
    let every = TriggerSpec::Interval { every_s: 60, anchor_at: Some(now) };
    let trigger = NewTrigger::new(every, now).unwrap();
    let workflow = world.workflow(OverlapPolicy::Allow, vec![trigger]).await;
    world.allow_agents(&["painter"]).await;
    world.clock.advance(TimeDelta::seconds(61));
    let now = world.store.sources().now();
    let due = world.store.trigger_due(now, None, 10).await.unwrap();
    let planned = world.store.trigger_plan(&due[0], now).await.unwrap().unwrap();
    world.store.trigger_settle(&planned).await.unwrap();
    let slots = world.store.slot_list(world.org, workflow, None, 10).await.unwrap();
    let skipped = slots.iter().map(|slot| (slot.state.as_str(), slot.reason.as_deref())).collect::<Vec<_>>();
    assert_eq!(skipped, [("skipped", Some("the org's policy does not allow the agent"))]);
    assert!(world.store.run_list(world.org, None, None, 10).await.unwrap().is_empty());
    assert!(world.store.sessions_list(world.org, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_prompt_that_was_taken_down_before_is_carried_out_and_its_key_still_names_it() {
    let world = World::new().await;
    let (session, command) = world.ready().await;
    world.allow_agents(&["painter"]).await;
    let again = world.store.command_enqueue(&world.prompt(session, "first")).await.unwrap();
    assert_eq!((again.command, again.created), (command, false));
    let next = world.store.command_enqueue(&world.prompt(session, "second")).await;
    assert!(matches!(next, Err(EnqueueError::AgentRefused)), "{next:?}");
    assert_eq!(world.claim(1).await[0].session, session);
}
