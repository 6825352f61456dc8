//! A controller in Rust: controller ARTIFACT. Prints the first five actions.

use ganglion::{Error, Policy, Status};

fn main() -> Result<(), Error> {
    let artifact = std::env::args().nth(1).expect("usage: controller ARTIFACT");
    let mut policy = Policy::load(&artifact)?;
    let info = policy.info();
    let observation = vec![0.1f32; info.batch * info.observation_size];
    let mut action = vec![0f32; info.batch * info.action_size];
    for _ in 0..5 {
        policy.step(&observation, &mut action).expect("a good step");
        println!("{}", action[0]);
    }
    policy.self_test()?;
    let held = policy.state().to_vec();
    let mut other = policy.try_clone()?;
    assert_eq!(other.state(), &held[..]);
    assert_eq!(policy.step(&observation[1..], &mut action), Err(Status::BAD_SIZE));
    assert_eq!(policy.state(), &held[..]);

    // Made here, stepped there.
    let there = std::thread::spawn(move || {
        let mut action = vec![0f32; action.len()];
        other.step(&observation, &mut action).map(|()| action)
    });
    let seen = there.join().unwrap().expect("a good step");
    let again = vec![0.1f32; info.batch * info.observation_size];
    let mut here = vec![0f32; seen.len()];
    policy.step(&again, &mut here).expect("a good step");
    assert_eq!(here, seen);

    let error = Policy::load("/nowhere/at.all").err().expect("no such file");
    assert_eq!(error.status.name(), "file_not_found");
    assert!(error.to_string().contains("/nowhere/at.all"));
    assert!(policy.contract_json()?.starts_with('{'));
    Ok(())
}
