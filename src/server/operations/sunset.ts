import type { FormattedExecutionResult } from 'graphql';
import type { PublishedOperation } from '../../partners/model.ts';

/** Headers that announce the end of an operation: since when it is known (RFC 9745), and when that is (RFC 8594). None for one that stays. */
export function sunsetHeaders({ deprecatedAt, sunsetAt }: PublishedOperation): readonly (readonly [string, string])[] {
  if (deprecatedAt === null || sunsetAt === null) return [];
  return [
    ['deprecation', `@${Math.floor(Date.parse(deprecatedAt) / 1000)}`],
    ['sunset', new Date(sunsetAt).toUTCString()],
  ];
}

/** The same beside an answer, for where there are no headers. */
export const withSunset = (
  result: FormattedExecutionResult,
  published: PublishedOperation | null,
): FormattedExecutionResult => {
  if (!published?.sunsetAt) return result;
  const { deprecatedAt, sunsetAt } = published;
  return { ...result, extensions: { ...result.extensions, sunset: { deprecatedAt, sunsetAt } } };
};
