//! The checked-in OpenAPI document is the one that the catalog gives.

use std::collections::BTreeSet;

#[test]
fn the_document_is_fresh() {
    let checked_in = include_str!("../../openapi.json");
    let now = format!("{:#}\n", talon_api::openapi::document());
    assert!(
        checked_in == now,
        "gateway/openapi.json is stale; run: cargo run -- openapi > gateway/openapi.json"
    );
}

#[test]
fn every_operation_is_in_it_once() {
    let entries = talon_api::catalog::entries();
    let ids: BTreeSet<&str> = entries.iter().map(|e| e.route.id).collect();
    assert_eq!(ids.len(), entries.len(), "an operation id is used twice");
    let document = talon_api::openapi::document();
    for entry in entries {
        let method = entry.route.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][entry.route.path][method];
        assert_eq!(operation["operationId"], entry.route.id);
        assert_eq!(
            operation["security"].as_array().is_some_and(Vec::is_empty),
            entry.public,
            "{}",
            entry.route.id
        );
        for placeholder in entry.placeholders {
            assert!(
                entry.route.path.contains(&format!("{{{placeholder}}}")),
                "{}: {placeholder}",
                entry.route.id
            );
        }
    }
}

/// Clients take their names from these.
#[test]
fn operations_have_the_contracts_ids() {
    const CONTRACT: &str = "\
        login revokeToken agentToken apiKeyToken refreshToken signup verifyEmail googleAuth changePassword \
        getMe updateMe deleteMe mfaStatus mfaSetup mfaVerifySetup mfaVerify mfaDisable deviceCode \
        deviceToken deviceCodeStatus deviceApprove deviceDeny createApiKey listApiKeys revokeApiKey \
        createVault listVaults getVault deleteVault enableCmek disableCmek rotateCmek getCmekRotationJob \
        listSecrets putSecret getSecret deleteSecret createPolicy listPolicies updatePolicy deletePolicy \
        enrollAgent createAgent listAgents getAgentSelf getAgent updateAgent deleteAgent rotateAgentKey \
        submitTransaction listTransactions getTransaction simulateTransaction simulateBundle listChains \
        getChain adminListChains createChain updateChain deleteChain createShare accessShare revokeShare \
        listOutboundShares listInboundShares acceptShare declineShare listOrgMembers inviteMember \
        updateMemberRole removeMember queryAuditEvents listIpRules createIpRule deleteIpRule \
        adminListSettings adminUpdateSetting adminDeleteSetting healthCheck healthHsm";
    let ids: BTreeSet<&str> = talon_api::catalog::entries().iter().map(|entry| entry.route.id).collect();
    let missing: Vec<&str> = CONTRACT.split_whitespace().filter(|id| !ids.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
