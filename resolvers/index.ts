import { AgentUsage } from './AgentUsage.ts';
import { ApiKey } from './ApiKey.ts';
import { Conversation } from './Conversation.ts';
import { Message } from './Message.ts';
import { acceptInvitation } from './Mutation/acceptInvitation.ts';
import { cancelMessage } from './Mutation/cancelMessage.ts';
import { changePassword } from './Mutation/changePassword.ts';
import { createApiKey } from './Mutation/createApiKey.ts';
import { createAuditExport } from './Mutation/createAuditExport.ts';
import { createConversation } from './Mutation/createConversation.ts';
import { createTenant } from './Mutation/createTenant.ts';
import { createTenantExport } from './Mutation/createTenantExport.ts';
import { createUsageExport } from './Mutation/createUsageExport.ts';
import { deleteConversation } from './Mutation/deleteConversation.ts';
import { disableUser } from './Mutation/disableUser.ts';
import { enableUser } from './Mutation/enableUser.ts';
import { inviteUser } from './Mutation/inviteUser.ts';
import { publishOperations } from './Mutation/publishOperations.ts';
import { refreshSession } from './Mutation/refreshSession.ts';
import { renameConversation } from './Mutation/renameConversation.ts';
import { resetUserPassword } from './Mutation/resetUserPassword.ts';
import { revokeApiKey } from './Mutation/revokeApiKey.ts';
import { sendMessage } from './Mutation/sendMessage.ts';
import { setApiKeyEnforcement } from './Mutation/setApiKeyEnforcement.ts';
import { setIdentityIssuers } from './Mutation/setIdentityIssuers.ts';
import { setTenantStatus } from './Mutation/setTenantStatus.ts';
import { setUsageAlertPercentages } from './Mutation/setUsageAlertPercentages.ts';
import { setUsageWebhook } from './Mutation/setUsageWebhook.ts';
import { setUserRoles } from './Mutation/setUserRoles.ts';
import { signIn } from './Mutation/signIn.ts';
import { signOut } from './Mutation/signOut.ts';
import { signOutEverywhere } from './Mutation/signOutEverywhere.ts';
import { sunsetOperations } from './Mutation/sunsetOperations.ts';
import { unpublishOperations } from './Mutation/unpublishOperations.ts';
import { updateTenant } from './Mutation/updateTenant.ts';
import { agents } from './Query/agents.ts';
import { apiKeys } from './Query/apiKeys.ts';
import { auditLog } from './Query/auditLog.ts';
import { conversation } from './Query/conversation.ts';
import { conversations } from './Query/conversations.ts';
import { identityIssuers } from './Query/identityIssuers.ts';
import { message } from './Query/message.ts';
import { node } from './Query/node.ts';
import { parkedWork } from './Query/parkedWork.ts';
import { persistedOperations } from './Query/persistedOperations.ts';
import { tenant } from './Query/tenant.ts';
import { tenantRemoval } from './Query/tenantRemoval.ts';
import { tenants } from './Query/tenants.ts';
import { usageAlerts } from './Query/usageAlerts.ts';
import { usageAlertSettings } from './Query/usageAlertSettings.ts';
import { usageSummary } from './Query/usageSummary.ts';
import { usageTimeSeries } from './Query/usageTimeSeries.ts';
import { users } from './Query/users.ts';
import { viewer } from './Query/viewer.ts';
import { DateTime } from './scalars/DateTime.ts';
import { JSONObject } from './scalars/JSONObject.ts';
import { liveUsage } from './Subscription/liveUsage.ts';
import { messageStream } from './Subscription/messageStream.ts';
import { Tenant } from './Tenant.ts';
import type { Resolvers } from './types.generated.ts';
import { UsageSummary } from './UsageSummary.ts';
import { UserUsage } from './UserUsage.ts';
import { Viewer } from './Viewer.ts';

/** Every resolver there is. The annotation makes the compiler check each one; `makeExecutableSchema` checks nothing. */
export const resolvers: Resolvers = {
  Query: {
    agents,
    apiKeys,
    auditLog,
    conversation,
    conversations,
    identityIssuers,
    message,
    node,
    parkedWork,
    persistedOperations,
    tenant,
    tenantRemoval,
    tenants,
    usageAlerts,
    usageAlertSettings,
    usageSummary,
    usageTimeSeries,
    users,
    viewer,
  },
  Mutation: {
    acceptInvitation,
    cancelMessage,
    changePassword,
    createApiKey,
    createAuditExport,
    createConversation,
    createTenant,
    createTenantExport,
    createUsageExport,
    deleteConversation,
    disableUser,
    enableUser,
    inviteUser,
    publishOperations,
    refreshSession,
    renameConversation,
    resetUserPassword,
    revokeApiKey,
    sendMessage,
    setApiKeyEnforcement,
    setIdentityIssuers,
    setTenantStatus,
    setUsageAlertPercentages,
    setUsageWebhook,
    setUserRoles,
    signIn,
    signOut,
    signOutEverywhere,
    sunsetOperations,
    unpublishOperations,
    updateTenant,
  },
  Subscription: { liveUsage, messageStream },
  AgentUsage,
  ApiKey,
  Conversation,
  Message,
  Tenant,
  UsageSummary,
  UserUsage,
  Viewer,
  DateTime,
  JSONObject,
};
