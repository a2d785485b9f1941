import { GraphQLScalarType } from 'graphql';
import { GraphQLDateTimeISO } from 'graphql-scalars';

/** RFC 3339 in and out; always sent in UTC with milliseconds. */
export const DateTime = new GraphQLScalarType<Date, string>({
  ...GraphQLDateTimeISO.toConfig(),
  name: 'DateTime',
  serialize: (value) => new Date(GraphQLDateTimeISO.serialize(value)).toISOString(),
});
