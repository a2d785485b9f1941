import { AgentUsage } from './AgentUsage.ts';
import { Conversation } from './Conversation.ts';
import { Message } from './Message.ts';
import { cancelMessage } from './Mutation/cancelMessage.ts';
import { createConversation } from './Mutation/createConversation.ts';
import { createTenant } from './Mutation/createTenant.ts';
import { createUsageExport } from './Mutation/createUsageExport.ts';
import { deleteConversation } from './Mutation/deleteConversation.ts';
import { refreshSession } from './Mutation/refreshSession.ts';
import { renameConversation } from './Mutation/renameConversation.ts';
import { sendMessage } from './Mutation/sendMessage.ts';
import { setTenantStatus } from './Mutation/setTenantStatus.ts';
import { signIn } from './Mutation/signIn.ts';
import { signOut } from './Mutation/signOut.ts';
import { updateTenant } from './Mutation/updateTenant.ts';
import { agents } from './Query/agents.ts';
import { auditLog } from './Query/auditLog.ts';
import { conversation } from './Query/conversation.ts';
import { conversations } from './Query/conversations.ts';
import { message } from './Query/message.ts';
import { node } from './Query/node.ts';
import { parkedWork } from './Query/parkedWork.ts';
import { tenant } from './Query/tenant.ts';
import { tenants } from './Query/tenants.ts';
import { usageSummary } from './Query/usageSummary.ts';
import { usageTimeSeries } from './Query/usageTimeSeries.ts';
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
    auditLog,
    conversation,
    conversations,
    message,
    node,
    parkedWork,
    tenant,
    tenants,
    usageSummary,
    usageTimeSeries,
    viewer,
  },
  Mutation: {
    cancelMessage,
    createConversation,
    createTenant,
    createUsageExport,
    deleteConversation,
    refreshSession,
    renameConversation,
    sendMessage,
    setTenantStatus,
    signIn,
    signOut,
    updateTenant,
  },
  Subscription: { liveUsage, messageStream },
  AgentUsage,
  Conversation,
  Message,
  Tenant,
  UsageSummary,
  UserUsage,
  Viewer,
  DateTime,
  JSONObject,
};
