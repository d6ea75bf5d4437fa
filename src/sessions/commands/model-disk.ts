import { BrokerError } from '../../core/errors.ts';
import type { StoredRequest } from '../../db/tables.ts';
import type { Offer } from '../../provider/offer.ts';
import { estimateDisk, type DiskEstimate } from '../disk-estimate.ts';
import type { OfferDesk } from '../offer-desk.ts';

interface SizedOrder {
  readonly request: StoredRequest;
  readonly warnings: readonly string[];
}

const UNKNOWN_SIZE = "model_id: nothing tells this model's size, so the disk was not sized for it; disk_gb asks for one";

/**
 * The order with a disk on which its model fits, where the consumer names no size; a named size that is too small is refused before
 * anybody pays for it. `askedDiskGb` is what the consumer named, as opposed to what a template asks for. Throws `insufficient_disk`.
 */
export function withModelDisk<Order extends SizedOrder>(
  { offers }: { readonly offers: Pick<OfferDesk, 'find'> },
  order: Order,
  askedDiskGb: number | undefined,
): Order {
  const { request } = order;
  const { modelId, quantization, templateHashId, offerId } = request;
  if (modelId === undefined) return order;
  const templateFloorGb = askedDiskGb === undefined ? request.diskGb : undefined;
  const estimate = estimateDisk({ modelId, quantization, hasTemplate: templateHashId !== undefined, templateFloorGb });
  if (!estimate) return { ...order, warnings: [...order.warnings, UNKNOWN_SIZE] };

  if (askedDiskGb !== undefined) {
    if (askedDiskGb >= estimate.minimumGb) return order;
    throw tooSmall(modelId, estimate, { requestedGb: askedDiskGb, why: `disk_gb is ${askedDiskGb}` });
  }
  const offer: Offer | undefined = offerId === undefined ? undefined : offers.find(offerId);
  if (offer && offer.maxDiskGb < estimate.minimumGb) {
    const why = `offer ${offer.id} has ${offer.maxDiskGb} GB at most`;
    throw tooSmall(modelId, estimate, { requestedGb: offer.maxDiskGb, why });
  }
  const fitting = offer ? Math.max(offer.minDiskGb, Math.min(estimate.recommendedGb, offer.maxDiskGb)) : estimate.recommendedGb;
  return { ...order, request: { ...request, diskGb: fitting } };
}

function tooSmall(
  modelId: string,
  estimate: DiskEstimate,
  { requestedGb, why }: { readonly requestedGb: number; readonly why: string },
): BrokerError {
  const { minimumGb, recommendedGb } = estimate;
  return new BrokerError({
    code: 'insufficient_disk',
    message: `create session: model ${modelId} needs a disk of ${minimumGb} GB at least, ${recommendedGb} GB are recommended, and ${why}`,
    details: {
      requested_gb: requestedGb,
      minimum_gb: minimumGb,
      recommended_gb: recommendedGb,
      breakdown: {
        model_weight_gb: estimate.weightsGb,
        download_buffer_gb: estimate.downloadBufferGb,
        docker_image_gb: estimate.imageGb,
        system_overhead_gb: estimate.systemGb,
        minimum_gb: minimumGb,
        recommended_gb: recommendedGb,
        ...(estimate.templateFloorGb !== undefined && { template_floor_gb: estimate.templateFloorGb }),
        model_id: modelId,
        ...(estimate.quantization !== undefined && { quantization: estimate.quantization }),
        param_count_b: estimate.parametersBillion,
      },
    },
  });
}
